import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export type WireFault =
  /** Every piece comes so much later, each way. */
  | { readonly kind: 'latency'; readonly ms: number }
  /** Nothing passes any more, and nobody is told: also on what is open. With `those` only where the client said this. */
  | { readonly kind: 'stall'; readonly those?: string }
  | { readonly kind: 'refuse' }
  /** RST for everybody. */
  | { readonly kind: 'reset' }
  /** After so many more bytes of answers RST for whoever gets them, and that is all. */
  | { readonly kind: 'cut'; readonly bytes: number }

/** A port that leads to another one of this machine, through whatever fault is set. */
export interface FaultProxy {
  readonly port: number
  /** Connections accepted so far. */
  accepted(): number
  open(): number
  set(fault: WireFault): Promise<void>
  lift(): Promise<void>
  close(): Promise<void>
}

const rememberedBytes = 2_000

export async function createFaultProxy(target: number): Promise<FaultProxy> {
  const clients = new Set<Socket>()
  /** How each began. */
  const beginnings = new WeakMap<Socket, string>()
  let fault: WireFault | undefined
  let accepted = 0
  let server: Server | undefined
  let port = 0

  function accept(client: Socket): void {
    accepted += 1
    client.on('error', () => {})
    if (fault?.kind === 'reset') return void client.resetAndDestroy()
    const upstream = connect(target, '127.0.0.1')
    clients.add(client)
    upstream.on('error', () => {})
    client.once('close', () => {
      clients.delete(client)
      upstream.destroy()
    })
    upstream.once('close', () => {
      if (!isStalled(client)) client.end()
    })
    client.on('data', (chunk: Buffer) => {
      const beginning = beginnings.get(client) ?? ''
      if (beginning.length < rememberedBytes) beginnings.set(client, beginning + chunk.toString('latin1'))
      void pass(chunk, upstream, client)
    })
    upstream.on('data', (chunk: Buffer) => void pass(chunk, client, client, true))
  }

  function isStalled(client: Socket): boolean {
    if (fault?.kind !== 'stall') return false
    return fault.those === undefined || (beginnings.get(client) ?? '').includes(fault.those)
  }

  /** What still comes for these is dropped, or they would get bytes with a gap. */
  const isCut = new WeakSet<Socket>()

  async function pass(chunk: Buffer, to: Socket, client: Socket, isAnswer = false): Promise<void> {
    if (fault?.kind === 'latency') await sleep(fault.ms)
    if (isStalled(client)) return
    if (isCut.has(client)) return
    if (fault?.kind === 'cut' && isAnswer) {
      const left = fault.bytes
      fault = left < chunk.length ? undefined : { kind: 'cut', bytes: left - chunk.length }
      to.write(chunk.subarray(0, left))
      if (fault === undefined) {
        isCut.add(client)
        setTimeout(() => client.resetAndDestroy(), 20)
      }
      return
    }
    to.write(chunk)
  }

  async function listen(): Promise<void> {
    server = createServer(accept)
    await new Promise<void>((resolve, reject) => {
      server!.once('error', reject).listen(port, '127.0.0.1', resolve)
    })
    port = (server.address() as { port: number }).port
  }

  async function refuse(): Promise<void> {
    for (const client of clients) client.resetAndDestroy()
    const closing = server
    server = undefined
    await new Promise((resolve) => (closing ? closing.close(resolve) : resolve(undefined)))
  }

  await listen()
  return {
    get port() {
      return port
    },
    accepted: () => accepted,
    open: () => clients.size,
    async set(next) {
      fault = next
      if (next.kind === 'refuse') await refuse()
      if (next.kind === 'reset') for (const client of clients) client.resetAndDestroy()
    },
    async lift() {
      const stalled = [...clients].filter(isStalled)
      fault = undefined
      // what was swallowed is missing for good: nothing good comes on these any more
      for (const client of stalled) client.resetAndDestroy()
      if (!server) await listen()
    },
    close: refuse,
  }
}
