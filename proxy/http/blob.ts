import { OciError } from '../oci/errors.ts'
import { failureOf } from '../pull/failure.ts'
import type { BlobAnswer, BlobBody, BlobRequest, Pull } from '../pull/pull.ts'
import { type Answer, errorAnswer, send, sendBytes, shared } from './answer.ts'
import { copyBody } from './body.ts'
import type { Buffers } from './buffers.ts'
import { etagOf, isNotModified, rangeApplies } from './conditional.ts'
import type { Exchange } from './exchange.ts'
import type { HotAnswers } from './hot.ts'
import { decideRange, type RangeDecision } from './range.ts'

interface BlobServing {
  readonly pull: Pull
  readonly hot: HotAnswers
  readonly buffers: Buffers
}

export async function sendBlob(
  exchange: Exchange,
  request: BlobRequest,
  serving: BlobServing,
): Promise<void> {
  const { headers } = exchange.request
  const { digest } = request
  // a client that has the bytes asks only whether it still may have them: no reason to fetch any
  const unmodified = isNotModified(headers['if-none-match'], digest)
  const wanted = { ...request, mayRedirect: mayRedirect(exchange) }
  const answer = await serving.pull.blob(unmodified ? { ...request, method: 'HEAD' } : wanted)
  try {
    if (answer.location !== undefined && rangeOf(exchange, answer, answer.size).kind !== 'unsatisfiable')
      return sendLocation(exchange, digest, answer.location)
    const known = ['Docker-Content-Digest', digest, 'ETag', etagOf(digest), 'Accept-Ranges', 'bytes']
    known.push(...shared(exchange, undefined))
    if (unmodified) return send(exchange.response, { status: 304, headers: known, body: undefined })
    await sendWanted(exchange, answer, known, serving)
  } finally {
    answer.body?.close()
  }
}

/** S3 gives one range as we do; it knows nothing of several, or of what our ETag is. */
function mayRedirect({ method, registry, request: { headers } }: Exchange): boolean {
  if (method !== 'GET' || registry?.route.blobDelivery !== 'Redirect') return false
  return headers['if-range'] === undefined && !headers.range?.includes(',')
}

/** Nobody on the way may keep it: who has the location has the blob. */
function sendLocation(exchange: Exchange, digest: string, location: string): void {
  const headers = ['Location', location, 'Docker-Content-Digest', digest, 'Cache-Control', 'no-store']
  headers.push('Content-Length', '0', ...shared(exchange, undefined))
  send(exchange.response, { status: 307, headers, body: undefined })
}

async function sendWanted(exchange: Exchange, answer: BlobAnswer, known: string[], serving: BlobServing) {
  const { body, mediaType = 'application/octet-stream', lease } = answer
  const size = answer.size ?? body?.size
  const range = exchange.method === 'HEAD' ? whole : rangeOf(exchange, answer, size)
  if (range.kind === 'unsatisfiable') {
    exchange.failure = new OciError('RANGE_INVALID')
    return send(exchange.response, errorAnswer(exchange.failure, 'GET', ['Content-Range', `bytes */${size}`]))
  }
  const head = {
    status: range.kind === 'part' ? 206 : 200,
    headers: headersOf(mediaType, known, range, size),
  }
  if (body !== undefined && body.bytes === undefined) {
    return await stream(exchange, head, body, range, size, serving.buffers)
  }
  const bytes = range.kind === 'part' ? body?.bytes?.subarray(range.start, range.end + 1) : body?.bytes
  const complete: Answer = { ...head, body: bytes }
  sendBytes(exchange, complete)
  if (lease !== undefined && range.kind === 'whole') serving.hot.remember(exchange, complete, lease)
}

const whole: RangeDecision = { kind: 'whole' }

function rangeOf({ request }: Exchange, { digest }: BlobAnswer, size: number | undefined): RangeDecision {
  const ifRange = request.headers['if-range']?.toString()
  return rangeApplies(ifRange, digest) ? decideRange(request.headers.range, size) : whole
}

function headersOf(
  mediaType: string,
  known: string[],
  range: RangeDecision,
  size: number | undefined,
): string[] {
  const headers = ['Content-Type', mediaType, ...known]
  if (range.kind === 'part') {
    headers.push('Content-Length', String(range.end - range.start + 1))
    headers.push('Content-Range', `bytes ${range.start}-${range.end}/${size}`)
  } else if (size !== undefined) {
    headers.push('Content-Length', String(size))
  }
  return headers
}

async function stream(
  exchange: Exchange,
  head: { readonly status: number; readonly headers: readonly string[] },
  body: BlobBody,
  range: RangeDecision,
  size: number | undefined,
  buffers: Buffers,
): Promise<void> {
  const part = range.kind === 'part' ? range : undefined
  let begun = false
  await copyBody({
    response: exchange.response,
    body,
    buffers,
    start: part?.start ?? 0,
    length: part === undefined ? size : part.end - part.start + 1,
    begin() {
      begun = true
      exchange.response.writeHead(head.status, head.headers as string[])
      exchange.firstByteAt = performance.now()
    },
    sent(bytes) {
      exchange.bytes += bytes
    },
  }).catch((error) => {
    throw begun ? error : failureOf(error)
  })
}
