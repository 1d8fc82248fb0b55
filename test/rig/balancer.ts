import { connect, createServer, type Server } from 'node:net'
import type { Headwater } from './headwater.ts'

const askMs = 100

/** Connections to each in turn of those that said last that they are ready; it finds out a moment later, as balancers do. */
export async function startBalancer(
  replicas: () => readonly Pick<Headwater, 'host' | 'ready'>[],
): Promise<{ host: string; close(): Promise<void> }> {
  let next = 0
  const away = new Set<string>()
  const asking = new Set<string>()
  const open = new Set<{ destroy(): void }>()

  /** Each by itself: one that is slow to answer holds up nothing but its own word. */
  async function ask({ host, ready }: Pick<Headwater, 'host' | 'ready'>): Promise<void> {
    if (asking.has(host)) return
    asking.add(host)
    if (await ready().catch(() => false)) away.delete(host)
    else away.add(host)
    asking.delete(host)
  }
  const timer = setInterval(() => {
    for (const replica of replicas()) void ask(replica)
  }, askMs)

  const server: Server = createServer((client) => {
    const all = replicas().map(({ host }) => host)
    const ready = all.filter((host) => !away.has(host))
    const hosts = ready.length > 0 ? ready : all
    const [host, port] = hosts[next++ % hosts.length]!.split(':')
    const replica = connect(Number(port), host)
    for (const [one, other] of [
      [client, replica],
      [replica, client],
    ] as const) {
      open.add(one)
      one.on('error', () => other.destroy())
      one.once('close', () => open.delete(one))
      one.pipe(other)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    host: `127.0.0.1:${(server.address() as { port: number }).port}`,
    async close() {
      clearInterval(timer)
      for (const one of open) one.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
