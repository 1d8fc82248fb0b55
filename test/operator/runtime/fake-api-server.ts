import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { KubeConfig } from '@kubernetes/client-node'

// biome-ignore lint/suspicious/noExplicitAny: as JSON comes
type Json = any

export interface FakeObject {
  readonly metadata: {
    readonly namespace: string
    readonly name: string
    readonly uid: string
    readonly resourceVersion: string
  }
  readonly [field: string]: unknown
}

/** An API server for one kind over plain HTTP, which does everything wrong when it is told to. */
export interface FakeApiServer {
  readonly kubeConfig: KubeConfig
  /** What a list gives now. */
  readonly objects: Map<string, FakeObject>
  /** Writes an object and tells the watches of it. */
  put(name: string, fields?: Readonly<Record<string, unknown>>): FakeObject
  remove(name: string, options?: { readonly silently?: boolean }): void
  /** A line to every watch, as it is. */
  send(line: unknown): void
  /** Ends all watches in order. */
  endWatches(): void
  /** Cuts them in the middle of a line. */
  resetWatches(): void
  /** Answers the next requests of this kind so instead. */
  fail(kind: 'list' | 'watch', times: number, answer: Answer): void
  readonly requests: readonly {
    readonly kind: 'list' | 'watch'
    readonly query: URLSearchParams
    readonly headers: IncomingMessage['headers']
  }[]
  watches(): number
  /** How many connections were made so far. */
  connections(): number
  /** To set it is to have another past. */
  version: number
  close(): Promise<void>
}

export type Answer =
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly reason?: string }
  | 'reset'
  | 'never'
  /** As usual. */
  | 'pass'

export async function startFakeApiServer({
  pageSize = 500,
}: {
  pageSize?: number
} = {}): Promise<FakeApiServer> {
  const objects = new Map<string, FakeObject>()
  const watches = new Set<ServerResponse>()
  const sockets = new Set<Socket>()
  const failures = { list: [] as Answer[], watch: [] as Answer[] }
  const requests: { kind: 'list' | 'watch'; query: URLSearchParams; headers: IncomingMessage['headers'] }[] =
    []
  /** What a watch from an earlier version is told first. */
  const history: { readonly version: number; readonly event: unknown }[] = []
  let version = 10

  const server = createServer((request, response) => {
    const { searchParams: query } = new URL(request.url ?? '', 'http://fake')
    const kind = query.get('watch') === 'true' ? 'watch' : 'list'
    requests.push({ kind, query, headers: request.headers })
    const failure = failures[kind].shift()
    if (failure !== undefined && failure !== 'pass') return misbehave(response, failure)
    response.setHeader('content-type', 'application/json')
    if (kind === 'list') return list(query, response)
    response.flushHeaders()
    for (const line of history) {
      if (line.version > Number(query.get('resourceVersion')))
        response.write(`${JSON.stringify(line.event)}\n`)
    }
    watches.add(response)
    response.on('close', () => watches.delete(response))
  })
  let connections = 0
  server.on('connection', (socket) => {
    connections += 1
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

  function list(query: URLSearchParams, response: ServerResponse): void {
    const all = [...objects.values()]
    const limit = Number(query.get('limit') ?? all.length) || all.length
    const from = Number(query.get('continue') ?? 0)
    const end = from + Math.min(limit, pageSize)
    const more = query.has('limit') && end < all.length
    const items = query.has('limit') ? all.slice(from, end) : all
    response.end(
      JSON.stringify({
        metadata: { resourceVersion: String(version), ...(more ? { continue: String(end) } : {}) },
        items,
      }),
    )
  }

  function send(line: unknown): void {
    for (const watch of watches) watch.write(`${JSON.stringify(line)}\n`)
  }

  function tell(event: unknown): void {
    history.push({ version, event })
    send(event)
  }

  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const kubeConfig = new KubeConfig()
  kubeConfig.loadFromClusterAndUser(
    { name: 'fake', server: url, skipTLSVerify: true },
    { name: 'me', token: 'canary-token' },
  )

  return {
    kubeConfig,
    objects,
    requests,
    put(name, fields = {}) {
      version += 1
      const metadata = { namespace: 'default', name, uid: `uid-${name}`, resourceVersion: String(version) }
      const object: FakeObject = { ...fields, metadata }
      const type = objects.has(name) ? 'MODIFIED' : 'ADDED'
      objects.set(name, object)
      tell({ type, object })
      return object
    },
    remove(name, { silently = false } = {}) {
      version += 1
      const object = objects.get(name)!
      objects.delete(name)
      const metadata = { ...object.metadata, resourceVersion: String(version) }
      if (!silently) tell({ type: 'DELETED', object: { ...object, metadata } })
    },
    send,
    endWatches() {
      for (const watch of watches) watch.end()
    },
    resetWatches() {
      for (const watch of watches) {
        watch.write('{"type":"MODIF')
        watch.socket?.resetAndDestroy()
      }
    },
    fail(kind, times, answer) {
      for (let time = 0; time < times; time++) failures[kind].push(answer)
    },
    watches: () => watches.size,
    connections: () => connections,
    get version() {
      return version
    },
    set version(value: number) {
      version = value
      history.length = 0
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function misbehave(response: ServerResponse, answer: Exclude<Answer, 'pass'>): void {
  if (answer === 'never') return
  if (answer === 'reset') {
    response.socket?.resetAndDestroy()
    return
  }
  const { status, headers = {}, reason = 'Unknown' } = answer
  const body: Json = { kind: 'Status', code: status, reason, message: `no: ${reason}` }
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}
