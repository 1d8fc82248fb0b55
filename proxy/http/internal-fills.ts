import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { ClusterAuth } from '../internal/cluster-auth.ts'
import { frameHead, sizeFrame } from '../internal/fill-frames.ts'
import { answerTarget, signatureHeader } from '../internal/peers.ts'
import { isDigest } from '../oci/digest.ts'
import type { Fill } from '../pull/fill.ts'
import type { BlobBody } from '../pull/pull.ts'
import type { Sharing } from '../pull/sharing.ts'

const beatMs = 300
const pieceBytes = 256 * 1024

/** What this replica brings, read by others while it comes. They hash it themselves, and hold back its end. */
export function serveFills(
  app: FastifyInstance,
  { brought, auth, now }: { brought: Sharing['brought']; auth: ClusterAuth; now: () => number },
): void {
  // read by ourselves: the framework's parameters are shorter than a digest may be
  app.get('/internal/v1/fills/*', async (request, reply) => {
    const [, , , , origin = '', digest = '', ...more] = request.url.split('/').map(decodeURIComponent)
    const start = /^bytes=(?<start>\d{1,15})-$/.exec(request.headers.range ?? 'bytes=0-')?.groups?.start
    if (!isDigest(digest) || start === undefined || more.length > 0) return reply.code(400).send()
    reply.hijack()
    const { raw } = reply
    const said = answerTarget(request.raw.url ?? '', request.headers.authorization ?? '')
    raw.writeHead(200, {
      'content-type': 'application/octet-stream',
      'cache-control': 'no-store',
      connection: 'close',
      [signatureHeader]: auth.sign('200', said, now()),
    })
    raw.flushHeaders()
    await send(request.raw, raw, brought(origin, digest), Number(start))
  })
}

async function send(
  request: IncomingMessage,
  response: ServerResponse,
  asked: Promise<Fill | undefined>,
  start: number,
): Promise<void> {
  let body: BlobBody | undefined
  const closed = new Promise<void>((resolve) => response.once('close', resolve))
  const beat = setInterval(() => {
    if (!response.writableNeedDrain) response.write(frameHead('beat', 0))
  }, beatMs)
  response.on('error', () => {})
  void closed.then(() => {
    clearInterval(beat)
    body?.close()
  })
  try {
    const fill = await Promise.race([asked, closed])
    if (!fill || response.closed) throw new Error('there is no such fill')
    body = fill.openSharedBody()
    await copy(body, response, start, closed)
  } catch {
    // the one who reads sees a cut, and what to do then is for him to know
    request.socket.destroy()
  } finally {
    clearInterval(beat)
    body?.close()
  }
}

async function copy(
  body: BlobBody,
  response: ServerResponse,
  start: number,
  closed: Promise<void>,
): Promise<void> {
  let isSaid = false
  const say = () => {
    if (!isSaid) response.write(sizeFrame(body.size))
    isSaid = true
  }
  if (body.size !== undefined) say()
  for (let position = start; !response.closed; ) {
    const buffer = Buffer.allocUnsafe(pieceBytes)
    const length = await body.read(buffer, position)
    say()
    if (length === 0) {
      response.end(frameHead('end', 0))
      await closed
      return
    }
    position += length
    response.write(frameHead('data', length))
    if (!response.write(buffer.subarray(0, length))) {
      await Promise.race([new Promise<void>((resolve) => response.once('drain', resolve)), closed])
    }
  }
}
