import { readFile, writeFile } from 'node:fs/promises'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { Agent, createServer, request as send } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { buffer } from 'node:stream/consumers'
import { type ApiServer, kubeconfigOf } from './api-server.ts'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** A request that writes, but for those of the Lease and of events. */
export interface Write {
  /** From 1. */
  readonly number: number
  readonly path: string
}

/** Gives the answer to a write; undefined has all of the relay's connections end, and nothing is passed on any more. */
export type Intercept = (write: Write, forward: () => Promise<Answer>) => Promise<Answer | undefined>

/** Stands between one program and the API server. It passes one write at a time, in the order they come. */
export interface Relay {
  /** Of the account whose token was given, for `--kubeconfig`. */
  readonly kubeconfig: string
  /** The paths of the writes that had their turn. */
  readonly writes: readonly string[]
  /** How many requests that write came, those of the Lease and of events too. */
  received(): number
  /** How many watches are open. */
  watches(): number
  /** Nothing comes any more through the watches that are open, and nobody is told. */
  silenceWatches(): void
  /** Ends the watches that are open, out of order. */
  cutWatches(): void
  /** From now on each event is told twice, and a watch that begins again is told everything since it first began. */
  repeatEvents(): void
  close(): Promise<void>
}

export async function startRelay(
  server: ApiServer,
  token: string,
  intercept: Intercept = (_write, forward) => forward(),
): Promise<Relay> {
  const ca = await readFile(server.caFile, 'utf8')
  const agent = new Agent({ ca, keepAlive: true })
  const writes: string[] = []
  const watches = new Set<ServerResponse>()
  const silent = new WeakSet<ServerResponse>()
  /** By what is watched, from which version first. */
  const beginnings = new Map<string, string>()
  let received = 0
  let doesRepeat = false
  let isCut = false
  let turn: Promise<unknown> = Promise.resolve()

  function open({ method, headers }: IncomingMessage, url: URL, body?: Buffer): Promise<IncomingMessage> {
    const { host: _host, connection: _connection, 'accept-encoding': _encoding, ...rest } = headers
    return new Promise((resolve, reject) => {
      send(url, { agent, method, headers: rest }, resolve).on('error', reject).end(body)
    })
  }

  async function ask(request: IncomingMessage, body?: Buffer): Promise<Answer> {
    const answer = await open(request, urlOf(request), body)
    return { status: answer.statusCode ?? 0, headers: answer.headers, body: await buffer(answer) }
  }

  async function write(request: IncomingMessage): Promise<Answer | undefined> {
    const body = await buffer(request)
    received += 1
    const path = urlOf(request).pathname
    if (/\/(?:leases|events)(?:\/|$)/.test(path)) return ask(request, body)
    const mine = turn.then(async () => {
      if (isCut) return undefined
      const answer = await intercept({ number: writes.push(path), path }, () => ask(request, body))
      isCut = answer === undefined
      return answer
    })
    turn = mine.catch(() => {})
    return mine
  }

  async function watch(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = urlOf(request)
    const watched = `${url.pathname} ${url.searchParams.get('fieldSelector')}`
    const version = url.searchParams.get('resourceVersion') ?? ''
    if (!beginnings.has(watched)) beginnings.set(watched, version)
    if (doesRepeat) url.searchParams.set('resourceVersion', beginnings.get(watched)!)
    const answer = await open(request, url)
    response.once('close', () => {
      watches.delete(response)
      answer.destroy()
    })
    watches.add(response)
    response.writeHead(answer.statusCode ?? 0, headersOf(answer)).flushHeaders()
    createInterface(answer)
      .on('line', (line) => {
        if (!silent.has(response)) response.write(`${line}\n`.repeat(doesRepeat ? 2 : 1))
      })
      .once('close', () => {
        if (!silent.has(response)) response.end()
      })
    answer.on('error', () => {})
  }

  async function pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (urlOf(request).searchParams.get('watch') === 'true') return watch(request, response)
    const answer = await (request.method === 'GET' ? ask(request) : write(request))
    if (answer === undefined) return front.closeAllConnections()
    response.writeHead(answer.status, headersOf(answer)).end(answer.body)
  }

  const { key, cert } = server.certificate
  const front = createServer({ key, cert }, (request, response) => {
    if (isCut) request.destroy()
    else pass(request, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve))
  const { port } = front.address() as AddressInfo
  const kubeconfig = join(server.folder, `relay-${port}.kubeconfig`)
  await writeFile(kubeconfig, kubeconfigOf({ url: `https://127.0.0.1:${port}`, ca, token }), { mode: 0o600 })

  function urlOf({ url = '/' }: IncomingMessage): URL {
    return new URL(url, server.url)
  }

  return {
    kubeconfig,
    writes,
    received: () => received,
    watches: () => watches.size,
    silenceWatches() {
      for (const each of watches) silent.add(each)
    },
    cutWatches() {
      for (const each of watches) each.destroy()
      watches.clear()
    },
    repeatEvents() {
      doesRepeat = true
    },
    async close() {
      front.closeAllConnections()
      await new Promise((resolve) => front.close(resolve))
      agent.destroy()
    },
  }
}

/** An answer of the API server that refuses a write because another one came between. */
export function conflict(): Answer {
  const status = { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'Conflict', code: 409 }
  const headers = { 'content-type': 'application/json' }
  return { status: 409, headers, body: Buffer.from(JSON.stringify(status)) }
}

/** Those that say how it is framed are ours to say. */
function headersOf({ headers }: { readonly headers: IncomingHttpHeaders }): IncomingHttpHeaders {
  const {
    connection: _connection,
    'transfer-encoding': _framing,
    'content-length': _length,
    ...rest
  } = headers
  return rest
}
