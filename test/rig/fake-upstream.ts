import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { SecureContextOptions } from 'node:tls'
import { type Content, createContent } from './content.ts'
import { answer, emptyReply, refuse } from './distribution-api.ts'
import type { Fault, SeenRequest } from './fault.ts'
import { type Reply, type Sending, sendReply } from './reply.ts'
import { createGate, type UpstreamAuth } from './upstream-auth.ts'

export { fault } from './fault.ts'

export interface FakeUpstreamOptions {
  /** Another loopback address is another host. */
  readonly host?: string
  readonly port?: number
  readonly tls?: SecureContextOptions & { requestCert?: boolean; rejectUnauthorized?: boolean }
  readonly auth?: UpstreamAuth
  /** False: 404 on the referrers API, as registries before 1.1. */
  readonly referrersApi?: boolean
  /** Before every answer, and once more on a new connection. */
  readonly latencyMs?: number
  /** Of each connection. */
  readonly bytesPerSecond?: number
  readonly keepAliveMs?: number
}

export type RecordedRequest = SeenRequest & Readonly<Sending> & { readonly status: number | undefined }

/** Exact, with a `*` at its end for what begins so, a pattern, or `*` for all there is. */
export type PathPattern = string | RegExp

/** A registry on a real socket, written from the specification, that goes wrong when it is told to. */
export interface FakeUpstream {
  readonly url: string
  /** `127.0.0.1:41234` */
  readonly host: string
  readonly port: number
  readonly content: Content
  readonly auth: UpstreamAuth
  /**
   * The next requests that match meet these faults, one each, in order. Only what passes authentication counts, unless
   * the path is `*`, which also is the token endpoint; `/token` is it alone. The method may be `*`.
   */
  next(method: string, path: PathPattern, ...faults: readonly Fault[]): void
  /** Every request that matches, until `heal`. A later one wins over an earlier. */
  always(method: string, path: PathPattern, fault: Fault): void
  /** How it is, not what befalls it: applied before any fault, and `heal` does not forget it. */
  habit(method: string, path: PathPattern, fault: Fault): void
  /** Further paths, such as a CDN has them. They come before the registry's own and ask for no authentication. */
  route(path: PathPattern, respond: (request: SeenRequest, reply: Reply) => Reply): void
  /** From now on nothing more leaves on the connections that are sending this, and nobody is told. */
  hold(path: PathPattern): void
  /** Forgets all faults, lets go of what hangs by resetting it, and listens again if it was stopped. */
  heal(): Promise<void>
  requests(filter?: { method?: string; path?: PathPattern }): RecordedRequest[]
  forgetRequests(): void
  revokeTokens(): void
  /** Every token it ever gave. */
  issued(): readonly string[]
  /** What its token endpoint says to this, for a token service on another host. */
  answerToken(request: SeenRequest): Reply
  /** Connections accepted since the start, and those open now. */
  connections(): { accepted: number; open: number }
  /** Bytes out of its sockets since the start, headers and TLS included. */
  bytesSent(): number
  /** Refuses connections until `heal`: the port is closed, every connection reset. */
  stop(): Promise<void>
  close(): Promise<void>
}

interface Rule {
  readonly method: string
  readonly path: PathPattern
  readonly faults: Fault[]
  readonly always: boolean
}

export async function createFakeUpstream(options: FakeUpstreamOptions = {}): Promise<FakeUpstream> {
  const { host = '127.0.0.1', tls, latencyMs = 0, bytesPerSecond, referrersApi = true } = options
  const content = createContent()
  const auth: UpstreamAuth = options.auth ?? { kind: 'none' }
  const recorded: RecordedRequest[] = []
  const routes: { path: PathPattern; respond: (request: SeenRequest, reply: Reply) => Reply }[] = []
  const sockets = new Map<string, { tcp: Socket; number: number; fresh: boolean }>()
  const habits: Rule[] = []
  let rules: Rule[] = []
  let accepted = 0
  let bytesOfClosed = 0
  let port = options.port ?? 0
  let server: Server

  const origin = () => `${tls ? 'https' : 'http'}://${host}:${port}`
  const gate = createGate(() => auth, origin)

  const respond = (request: SeenRequest): { reply: Reply; faulty: readonly Fault[] } => {
    const extra = routes.find(({ path }) => matches(path, request.path))
    if (extra) return { reply: extra.respond(request, emptyReply()), faulty: take(request, true) }
    if (request.path === '/token') return { reply: gate.token(request), faulty: take(request, true) }
    if (!request.path.startsWith('/v2'))
      return { reply: refuse(emptyReply(), 404, 'UNSUPPORTED'), faulty: take(request, true) }
    const refusal = gate.check(request)
    if (refusal) return { reply: refusal, faulty: take(request, false) }
    return { reply: answer(content, request, { referrersApi }), faulty: take(request, true) }
  }

  /** The fault whose turn it is: of a queue first, then the latest that is always there. */
  const take = (request: SeenRequest, passed: boolean): readonly Fault[] => {
    const fits = ({ method, path, faults }: Rule): boolean =>
      faults.length > 0 &&
      (method === '*' || method === request.method) &&
      (path === '*' || (passed && matches(path, request.path)))
    const usual = habits.filter(fits).flatMap(({ faults }) => faults)
    const fitting = rules.filter(fits)
    const queued = fitting.find(({ always }) => !always)
    if (queued) return [...usual, queued.faults.shift()!]
    return [...usual, ...(fitting.at(-1)?.faults ?? [])]
  }

  const handle = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    incoming.resume()
    const connection = sockets.get(keyOf(incoming.socket))
    if (!connection) return void incoming.socket.destroy()
    const request = seen(incoming, connection.number)
    const sending: Sending = { bodyBytesSent: 0, outcome: 'pending' }
    const record = Object.assign(sending, request, { status: undefined as number | undefined })
    recorded.push(record)
    response.once('close', () => {
      if (sending.outcome === 'pending' && !response.writableFinished) sending.outcome = 'gone'
    })

    const { reply, faulty } = respond(request)
    reply.delayMs += connection.fresh ? 2 * latencyMs : latencyMs
    connection.fresh = false
    for (const fault of faulty) await fault(reply, request)
    record.status = reply.status
    await sendReply(reply, { request: incoming, response, tcp: connection.tcp, bytesPerSecond, sending })
  }

  const listen = async (): Promise<void> => {
    const listener = (incoming: IncomingMessage, response: ServerResponse) =>
      void handle(incoming, response).catch(() => incoming.socket.destroy())
    server = tls ? createTlsServer(tls, listener) : createServer(listener)
    server.keepAliveTimeout = options.keepAliveMs ?? 60_000
    server.on('connection', (tcp: Socket) => {
      const key = keyOf(tcp)
      sockets.set(key, { tcp, number: ++accepted, fresh: true })
      tcp.setNoDelay(true)
      tcp.on('error', () => {})
      tcp.once('close', () => {
        bytesOfClosed += tcp.bytesWritten
        sockets.delete(key)
      })
    })
    server.on('tlsClientError', () => {})
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port }, resolve)
    })
    port = (server.address() as AddressInfo).port
  }

  const stop = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const { tcp } of sockets.values()) tcp.resetAndDestroy()
    await closed
  }

  await listen()
  return {
    get url() {
      return origin()
    },
    get host() {
      return `${host}:${port}`
    },
    get port() {
      return port
    },
    content,
    auth,
    next: (method, path, ...faults) => void rules.push({ method, path, faults: [...faults], always: false }),
    always: (method, path, fault) => void rules.push({ method, path, faults: [fault], always: true }),
    habit: (method, path, fault) => void habits.push({ method, path, faults: [fault], always: true }),
    route: (path, respond) => void routes.unshift({ path, respond }),
    hold(path) {
      const sending = recorded.filter((one) => one.outcome === 'pending' && matches(path, one.path))
      const numbers = new Set(sending.map(({ connection }) => connection))
      for (const { tcp, number } of sockets.values()) if (numbers.has(number)) tcp.cork()
    },
    async heal() {
      rules = []
      const stuck = recorded.filter(({ outcome }) => outcome === 'pending' || outcome === 'stalled')
      const numbers = new Set(stuck.map(({ connection }) => connection))
      for (const { tcp, number } of sockets.values()) if (numbers.has(number)) tcp.resetAndDestroy()
      if (!server.listening) await listen()
    },
    requests: ({ method, path = '*' } = {}) =>
      recorded.filter((request) => (!method || method === request.method) && matches(path, request.path)),
    forgetRequests: () => void recorded.splice(0),
    revokeTokens: () => gate.revokeTokens(),
    issued: () => gate.issued(),
    answerToken: (request) => gate.token(request),
    connections: () => ({ accepted, open: sockets.size }),
    bytesSent: () => [...sockets.values()].reduce((sum, { tcp }) => sum + tcp.bytesWritten, bytesOfClosed),
    stop,
    async close() {
      if (server.listening) await stop()
    },
  }
}

function seen(incoming: IncomingMessage, connection: number): SeenRequest {
  const url = incoming.url ?? ''
  const [path = '', query = ''] = url.split('?', 2)
  const { method = '', headers } = incoming
  return { method, path, query: new URLSearchParams(query), url, headers, connection, at: Date.now() }
}

function keyOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}

function matches(pattern: PathPattern, path: string): boolean {
  if (typeof pattern !== 'string') return pattern.test(path)
  return pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern
}
