import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Fleet } from './fleet.ts'
import { type FleetPull, pullFrom } from './fleet-clients.ts'
import { startUpstreamProcess, type UpstreamProcess } from './start-upstream-process.ts'

export const losses = ['kill -9', 'SIGSTOP', 'partition', 'unreachable'] as const
export type Loss = (typeof losses)[number]

export const layerBytes = 12 * 1024 ** 2
export const latencyMs = 30
/** A layer takes four seconds. */
const bytesPerSecond = 3_000_000
/** Between losing a leader and the next byte: the lease, and one round trip. */
const maxWaitMs = 3_000 + 2 * latencyMs
/** What this machine may add, busy with all of a fleet at once. */
const slackMs = 500

export function startUpstreamOfLayers(count: number): Promise<UpstreamProcess> {
  const layers = Array.from({ length: count }, () => layerBytes)
  return startUpstreamProcess({
    latencyMs,
    bytesPerSecond,
    images: [{ repository: 'foo', tag: 'bar', layers }],
  })
}

export interface LossStory {
  readonly loss: Loss
  readonly atMs: number
  readonly longestWaitMs: number
  /** Sent by the upstream, of the layer's size. */
  readonly share: number
}

/**
 * Loses the leader of a fill after so long, and expects of the clients of the others that they get the right bytes
 * without an error, and in time. Afterwards the fleet is whole again.
 */
export async function loseLeader(
  fleet: Fleet,
  upstream: UpstreamProcess,
  { digest, size }: { readonly digest: string; readonly size: number },
  loss: Loss,
  atMs: number,
): Promise<LossStory> {
  const path = `/v2/default/hub/foo/blobs/${digest}`
  const before = (await upstream.sent()).bytesSent
  const pulling = fleet.hosts.flatMap((host) => [pullFrom(host, path), pullFrom(host, path)])
  await sleep(atMs)
  const leader = await fleet.leader(digest)
  if (!leader) throw new Error('nobody holds the lease')
  const lostHost = leader.headwater.host

  if (loss === 'kill -9') leader.headwater.signal('SIGKILL')
  if (loss === 'SIGSTOP') leader.headwater.signal('SIGSTOP')
  if (loss === 'partition') await leader.partition()
  if (loss === 'unreachable') await leader.hide()

  const others = pulling.filter((_, at) => fleet.hosts[Math.floor(at / 2)] !== lostHost)
  const pulls = await Promise.all(others)
  if (loss === 'SIGSTOP') leader.headwater.signal('SIGCONT')
  await leader.lift()
  const all = await Promise.all(pulling)
  const survives = loss !== 'kill -9'
  expect(failuresOf(survives ? all : pulls, digest)).toEqual([])
  const { bytesSent } = await upstream.sent()
  const longestWaitMs = Math.max(...pulls.map((one) => one.longestWaitMs))
  expect(longestWaitMs).toBeLessThan(maxWaitMs + slackMs)

  if (!survives) await fleet.replace(leader)
  for (const { headwater } of fleet.replicas) {
    await expect.poll(() => headwater.metric('headwater_fills_in_progress'), { timeout: 15_000 }).toBe(0)
  }
  expect(await fleet.objects(`/blobs/${digest.replace(':', '/').replace(/\/(..)/, '/$1/$1')}`)).toHaveLength(
    1,
  )
  return { loss, atMs, longestWaitMs, share: (bytesSent - before) / size }
}

function failuresOf(pulls: readonly FleetPull[], digest: string): readonly FleetPull[] {
  return pulls.filter((one) => one.error !== undefined || one.status !== 200 || one.digest !== digest)
}
