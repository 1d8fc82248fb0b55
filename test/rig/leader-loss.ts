import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { type Fleet, startFleet } from './fleet.ts'
import { type FleetPull, pullFrom } from './fleet-clients.ts'
import { startUpstreamProcess, type UpstreamProcess } from './start-upstream-process.ts'

export const losses = ['kill -9', 'SIGSTOP', 'partition', 'unreachable'] as const
export type Loss = (typeof losses)[number]

const layerBytes = 50 * 1024 ** 2
const latencyMs = 30
/** A layer takes more than four seconds. */
const bytesPerSecond = 12_000_000
const longestMs = 3_500
/** An upstream holds its layers in memory. */
const roundsPerUpstream = 5
/** Between losing a leader and the next byte: the lease, and one round trip. */
const maxWaitMs = 3_000 + 2 * latencyMs
/** What this machine may add, busy with all of a fleet at once. */
const slackMs = 500

/** So many rounds, each with a cold layer and at another moment of its fill. */
export async function loseLeaders(loss: Loss, rounds: number): Promise<LossStory[]> {
  const stories: LossStory[] = []
  while (stories.length < rounds) {
    const layers = Array.from(
      { length: Math.min(roundsPerUpstream, rounds - stories.length) },
      () => layerBytes,
    )
    const images = [{ repository: 'foo', tag: 'bar', layers }]
    const upstream = await startUpstreamProcess({ latencyMs, bytesPerSecond, images })
    const fleet = await startFleet({ size: 3, upstream: upstream.url })
    try {
      await warmUp(fleet, upstream)
      for (const layer of upstream.images[0]!.layers) {
        stories.push(await loseLeader(fleet, upstream, layer, loss, 300 + Math.random() * longestMs))
      }
    } finally {
      await fleet.close()
      await upstream.close()
    }
  }
  return stories
}

/**
 * What an upstream may send, of the layer's size. A leader that lives on without the others reads on for clients of its
 * own; a stopped one has what the system took for it meanwhile. Where Redis is too slow at that moment each reads for itself.
 */
export const mostSent: Readonly<Record<Loss, number>> = {
  'kill -9': 1.3,
  SIGSTOP: 2,
  partition: 3.1,
  unreachable: 3.1,
}

export interface LossStory {
  readonly loss: Loss
  readonly atMs: number
  readonly longestWaitMs: number
  /** Sent by the upstream, of the layer's size. */
  readonly share: number
  /** Files of transfers to the bucket that neither ended nor were taken back. */
  readonly partial: number
}

/**
 * Loses the leader of a fill after so long, and expects of the clients of the others that they get the right bytes
 * without an error, and in time. Afterwards the fleet is whole again.
 */
async function loseLeader(
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
  await warmUp(fleet, upstream)
  for (const { headwater } of fleet.replicas) {
    await expect.poll(() => headwater.metric('headwater_fills_in_progress'), { timeout: 15_000 }).toBe(0)
  }
  expect(await fleet.objects(`/blobs/${digest.replace(':', '/').replace(/\/(..)/, '/$1/$1')}`)).toHaveLength(
    1,
  )
  const partial = (await fleet.objects('.sgwtmp')).length
  return { loss, atMs, longestWaitMs, share: (bytesSent - before) / size, partial }
}

/** A process that has answered nothing yet is slow with its first. */
async function warmUp(fleet: Fleet, upstream: UpstreamProcess): Promise<void> {
  const { digest } = upstream.images[0]!.config
  for (const host of fleet.hosts) await pullFrom(host, `/v2/default/hub/foo/blobs/${digest}`)
}

function failuresOf(pulls: readonly FleetPull[], digest: string): readonly FleetPull[] {
  return pulls.filter((one) => one.error !== undefined || one.status !== 200 || one.digest !== digest)
}
