import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, type ServerOptions as TlsOptions } from 'node:https'
import { type AddressInfo, createServer as createNetServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import type { Observer } from '../../../proxy/observer.ts'
import type { UpstreamRoute } from '../../../proxy/routes.ts'
import type { UpstreamClient } from '../../../proxy/upstream/client.ts'
import {
  createUpstreamClient,
  type UpstreamClientOptions,
} from '../../../proxy/upstream/create-upstream-client.ts'

/** What one test opened is closed after it, clients first. */
const cleanups: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})
export function afterThisTest(cleanup: () => Promise<void>): void {
  cleanups.push(cleanup)
}

export interface Seen {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
}

export interface Double {
  readonly url: string
  readonly port: number
  readonly requests: Seen[]
  readonly connections: () => number
  /** Ends connections on which nothing is asked at the moment, as a registry does in its own time. */
  closeIdle(): void
}

export type Handler = (request: Seen, response: ServerResponse) => void

/** A registry, token service or CDN in as many lines as a test needs. */
export async function startDouble(
  handler: Handler,
  { tls, host = '127.0.0.1' }: { tls?: TlsOptions; host?: string } = {},
): Promise<Double> {
  const requests: Seen[] = []
  let connections = 0
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? '/', 'http://double')
    const seen = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
    }
    requests.push(seen)
    handler(seen, response)
  }
  const server = tls ? createTlsServer(tls, listener) : createServer(listener)
  server.on('connection', () => connections++)
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  afterThisTest(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `${tls ? 'https' : 'http'}://${host}:${port}`,
    port,
    requests,
    connections: () => connections,
    closeIdle: () => server.closeIdleConnections(),
  }
}

/** Writes bytes as they are once the head of a request has come. */
export async function startRaw(
  answer: (socket: Socket, head: string) => void,
): Promise<{ url: string; port: number; heads: string[]; connections: () => number }> {
  const heads: string[] = []
  const sockets = new Set<Socket>()
  let connections = 0
  const server = createNetServer((socket) => {
    connections++
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    let head = ''
    socket.on('data', (chunk) => {
      head += chunk.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      heads.push(head)
      answer(socket, head)
      head = ''
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  afterThisTest(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, port, heads, connections: () => connections }
}

export interface Told extends Observer {
  readonly sent: { upstream: string; method: string; status: number | string }[]
  bytes: number
}

export function createTold(): Told {
  const nothing = () => {}
  const told: Told = {
    sent: [],
    bytes: 0,
    upstreamRequest: ({ upstream, method, status }) => void told.sent.push({ upstream, method, status }),
    upstreamBytes: (_upstream, bytes) => {
      told.bytes += bytes
    },
    fillStarted: nothing,
    fillEnded: nothing,
    fillResumed: nothing,
    digestMismatch: nothing,
    breaker: nothing,
    spoolBytes: nothing,
    storedBytes: nothing,
    evicted: nothing,
    sharing: nothing,
    storeFailure: nothing,
  }
  return told
}

export function startClient(options: Partial<UpstreamClientOptions> = {}): UpstreamClient {
  const client = createUpstreamClient({
    observer: createTold(),
    now: Date.now,
    version: '0.0.0-test',
    addressPolicy: { deny: [], allow: [] },
    ...options,
  })
  afterThisTest(() => client.close())
  return client
}

export function upstreamAt(url: string, fields: Partial<UpstreamRoute> = {}): UpstreamRoute {
  return {
    kind: 'Upstream',
    namespace: 'default',
    name: 'hub',
    id: 'a'.repeat(64),
    origin: url,
    url,
    revalidation: { policy: 'AfterValidity', validitySeconds: 86400 },
    tokenServiceHosts: [],
    namespaceHosts: [],
    mode: 'Active',
    ...fields,
  }
}

export const credentials = { username: 'robot', password: 'canary-password' }

/** Asks for a manifest of `team/app`, and reads the body of a yes. */
export async function ask(
  client: UpstreamClient,
  upstream: UpstreamRoute,
  request: Partial<Parameters<UpstreamClient['request']>[0]> = {},
) {
  const answer = await client.request({
    upstream,
    method: 'GET',
    repository: 'team/app',
    resource: 'manifests/latest',
    ...request,
  })
  if (!answer.found) return { ...answer, text: '' }
  const chunks: Buffer[] = []
  for await (const chunk of answer.body) chunks.push(chunk as Buffer)
  return { ...answer, text: Buffer.concat(chunks).toString('latin1') }
}

export function reply(
  response: ServerResponse,
  status: number,
  headers: Record<string, string> = {},
  body = '',
): void {
  response.writeHead(status, headers)
  response.end(body)
}

export interface Certificates {
  readonly ca: string
  issue(options?: { names?: string; expired?: boolean; selfSigned?: boolean }): { key: string; cert: string }
}

const authorityConfig = `
[ca]
default_ca = here
[here]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = anything
copy_extensions = copy
[anything]
commonName = supplied
`

/** An authority of its own, made by openssl in a folder that is gone after the test. */
export function createCertificates(): Certificates {
  const folder = mkdtempSync(join(tmpdir(), 'headwater-certificates-'))
  afterThisTest(async () => rmSync(folder, { recursive: true, force: true }))
  const openssl = (...words: string[]) => execFileSync('openssl', words, { cwd: folder, stdio: 'pipe' })
  const read = (name: string) => readFileSync(join(folder, name), 'utf8')
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout']
  writeFileSync(join(folder, 'ca.conf'), authorityConfig)
  writeFileSync(join(folder, 'index.txt'), '')
  writeFileSync(join(folder, 'serial'), '1000')
  openssl('req', '-x509', ...newKey, 'ca.key', '-out', 'ca.crt', '-days', '2', '-subj', '/CN=Test CA')
  let issued = 0

  return {
    ca: read('ca.crt'),
    issue({ names = 'DNS:localhost,IP:127.0.0.1', expired = false, selfSigned = false } = {}) {
      const id = `leaf${++issued}`
      const subject = ['-subj', `/CN=${id}`, '-addext', `subjectAltName=${names}`]
      if (selfSigned) {
        openssl('req', '-x509', ...newKey, `${id}.key`, '-out', `${id}.crt`, '-days', '2', ...subject)
        return { key: read(`${id}.key`), cert: read(`${id}.crt`) }
      }
      openssl('req', ...newKey, `${id}.key`, '-out', `${id}.csr`, ...subject)
      const from = expired ? ['-startdate', '20200101000000Z', '-enddate', '20200102000000Z'] : ['-days', '2']
      const files = ['-cert', 'ca.crt', '-keyfile', 'ca.key', '-in', `${id}.csr`, '-out', `${id}.crt`]
      openssl('ca', '-batch', '-notext', '-config', 'ca.conf', ...from, ...files)
      return { key: read(`${id}.key`), cert: read(`${id}.crt`) }
    },
  }
}
