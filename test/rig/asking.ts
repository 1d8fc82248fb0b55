import { type Agent, type IncomingHttpHeaders, request } from 'node:http'
import { algorithmOf, digestOf, isDigest } from '../../proxy/oci/digest.ts'
import { linesWithSecrets } from './canary.ts'
import type { Headwater } from './headwater.ts'

export interface Asking {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** A new connection for each request where unset. */
  readonly agent?: Agent
}

export interface Asked {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** The connection broke before the answer's end. */
  readonly cut: boolean
  /** The OCI code of an error. */
  readonly code: string | undefined
  readonly ms: number
}

/**
 * Asks Headwater and holds the answer to the invariants of a single one: I2, whole and right or visibly cut; I4, nothing
 * secret in its head or in an error; I7, an OCI body with every error. A connection that ends before a head is `status` 0.
 */
export async function ask(
  headwater: Pick<Headwater, 'url'>,
  path: string,
  asking: Asking = {},
): Promise<Asked> {
  const answer = await exchange(headwater.url, path, asking)
  const problem = problemOf(answer, path, asking)
  if (problem === undefined) return answer
  const { status, headers, body, cut } = answer
  const shown = JSON.stringify({
    status,
    headers,
    cut,
    bytes: body.length,
    body: body.toString('latin1', 0, 300),
  })
  throw new Error(`${asking.method ?? 'GET'} ${path}: ${problem}: ${shown}`)
}

function exchange(
  url: string,
  path: string,
  { method = 'GET', headers = {}, agent }: Asking,
): Promise<Asked> {
  const { hostname, port } = new URL(url)
  const startedAt = performance.now()
  return new Promise((resolve) => {
    const end = (status: number, head: IncomingHttpHeaders, chunks: readonly Buffer[], cut: boolean) => {
      const body = Buffer.concat(chunks)
      const code = status >= 400 ? codeOf(body) : undefined
      resolve({ status, headers: head, body, cut, code, ms: performance.now() - startedAt })
    }
    const sent = request({ hostname, port, path, method, headers, agent: agent ?? false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', () => {})
      response.once('close', () => {
        end(response.statusCode ?? 0, response.headers, chunks, !response.complete)
      })
    })
    sent.once('error', () => end(0, {}, [], true))
    sent.end()
  })
}

function problemOf(answer: Asked, path: string, { method = 'GET' }: Asking): string | undefined {
  const { status, headers, body, cut } = answer
  const { 'content-length': length } = headers
  if (linesWithSecrets(JSON.stringify(headers)).length > 0) return 'I4: a secret is in the headers'
  if (cut) {
    if (length !== undefined && body.length >= Number(length)) return 'I2: cut, but not before the last byte'
    return undefined
  }
  if (status >= 400) return errorProblem(answer, method)
  const hasBytes = method !== 'HEAD' && status !== 206
  return hasBytes ? bytesProblem(answer, path) : undefined
}

function bytesProblem({ status, headers, body }: Asked, path: string): string | undefined {
  const [, last] = /\/(?:blobs|manifests)\/([^/?]+)/.exec(path) ?? []
  if (last === undefined) return undefined
  if (status !== 200) return status === 304 && body.length === 0 ? undefined : 'an answer that is none'
  const header = headers['docker-content-digest']
  const digest = isDigest(last) ? last : header
  if (!isDigest(digest) || header !== digest) return 'I2: the digest in the head is not what was asked for'
  if (digestOf(body, algorithmOf(digest)) !== digest) return 'I2: a clean end with other bytes'
  return undefined
}

function errorProblem({ status, headers, body, code }: Asked, method: string): string | undefined {
  if (linesWithSecrets(body.toString('latin1')).length > 0) return 'I4: a secret is in the body of an error'
  if (headers['content-type'] !== 'application/json') return 'I7: an error of another type'
  if (method === 'HEAD') return body.length === 0 ? undefined : 'I7: a body for HEAD'
  if (code === undefined) return 'I7: an error without an OCI body'
  if (status === 503 && headers['retry-after'] === undefined) return 'I7: 503 without Retry-After'
  return undefined
}

function codeOf(body: Buffer): string | undefined {
  try {
    const { errors } = JSON.parse(body.toString()) as { errors: { code?: unknown; message?: unknown }[] }
    const { code, message } = errors[0] ?? {}
    return typeof code === 'string' && typeof message === 'string' ? code : undefined
  } catch {
    return undefined
  }
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
