import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { type Fleet, type Replica, startFleet } from './fleet.ts'
import { type FleetPull, pullFrom } from './fleet-clients.ts'
import { startUpstreamProcess, type UpstreamProcess } from './start-upstream-process.ts'

/**
 * - `partition`: nothing passes any more between the leader and Redis, S3, the other replicas and the upstream
 * - `cut off`: the same, but the upstream and clients of its own stay: it reads on for these
 * - `unreachable`: the other replicas cannot ask it, and all else goes on
 */
export const losses = ['kill -9', 'SIGSTOP', 'partition', 'cut off', 'unreachable'] as const
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
const mostSent = 1.3

/** Another process may keep this one, or a replica that nobody harmed, from doing anything for so long: no round then. */
const mostDelayMs = 500

/**
 * So many rounds, each with a cold layer and at another moment of its fill. Rounds in which the machine was too slow for
 * anything to be said of them come on top, at most as many.
 */
export async function loseLeaders(loss: Loss, rounds: number): Promise<LossStory[]> {
  const stories: LossStory[] = []
  const left = () => rounds - calmOf(stories).length
  while (left() > 0 && stories.length < 2 * rounds) {
    const layers = Array.from({ length: Math.min(roundsPerUpstream, left()) }, () => layerBytes)
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

export interface LossStory {
  readonly loss: Loss
  readonly atMs: number
  readonly longestWaitMs: number
  /** Sent by the upstream when the leader was lost, of the layer's size. */
  readonly shareBefore: number
  /** Sent by the upstream in all. */
  readonly share: number
  /** Most that it may send: what a leader that lives on asks for its own clients is not asked for the others. */
  readonly most: number
  /** Of the blob in the bucket. */
  readonly objects: number
  /** Of what was begun to be sent to the bucket and never ended. */
  readonly partial: number
  /** Why nothing can be said of this round. */
  readonly disturbance: string | undefined
  /** Whom the upstream sent what, and what the replicas said meanwhile: lines of `ms since the loss, what`. */
  readonly events: readonly string[]
}

/**
 * Loses the leader of a fill after so long, and expects of the clients of the others that they get the right bytes
 * without an error. Afterwards the fleet is whole again.
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
  const calm = watchCalm(fleet)
  const pulling = fleet.hosts.flatMap((host) => [pullFrom(host, path), pullFrom(host, path)])
  await sleep(atMs)
  const leader = await leaderOf(fleet, digest)
  if (!leader) {
    expect(failuresOf(await Promise.all(pulling), digest)).toEqual([])
    return { ...nothingLost, loss, atMs }
  }
  const lostHost = leader.headwater.host
  const lostAt = Date.now()
  const sentBefore = (await lose(loss, leader, upstream, `/v2/foo/blobs/${digest}`)) - before

  const others = pulling.filter((_, at) => fleet.hosts[Math.floor(at / 2)] !== lostHost)
  const pulls = await Promise.all(others)
  const disturbance = calm(lostHost)
  if (loss === 'SIGSTOP') leader.headwater.signal('SIGCONT')
  await leader.lift()
  const all = await Promise.all(pulling)
  const survives = loss !== 'kill -9'
  expect(failuresOf(survives ? all : pulls, digest)).toEqual([])

  const events = await eventsOf(fleet, upstream, digest, lostAt)
  if (!survives) await fleet.replace(leader)
  await warmUp(fleet, upstream)
  for (const { headwater } of fleet.replicas) {
    await expect.poll(() => headwater.metric('headwater_fills_in_progress'), { timeout: 30_000 }).toBe(0)
  }
  const shareBefore = sentBefore / size
  const livesOn = loss === 'cut off' || loss === 'unreachable'
  return {
    ...{ loss, atMs, shareBefore, disturbance, events },
    ...(await bucketOf(fleet, digest)),
    longestWaitMs: Math.max(...pulls.map((one) => one.longestWaitMs)),
    share: ((await upstream.sent()).bytesSent - before) / size,
    most: livesOn ? mostSent + 1 - shareBefore : mostSent,
  }
}

/** Tells what kept the machine from being a fleet meanwhile, the one that was lost apart. */
function watchCalm(fleet: Fleet): (lostHost: string) => string | undefined {
  const delay = monitorEventLoopDelay({ resolution: 20 })
  delay.enable()
  const before = new Map(fleet.replicas.map((one) => [one, awayOf(one)]))
  return (lostHost) => {
    delay.disable()
    if (delay.max / 1e6 > mostDelayMs) return `the clients stood still for ${(delay.max / 1e6).toFixed(0)} ms`
    const shaken = fleet.replicas.find(
      (one) => one.headwater.host !== lostHost && awayOf(one) > (before.get(one) ?? 0),
    )
    return shaken && `Redis or S3 was too slow for ${shaken.headwater.host}`
  }
}

function awayOf({ headwater }: Replica): number {
  return headwater.logged().filter(({ store, err }) => store !== undefined && err !== undefined).length
}

async function bucketOf(fleet: Fleet, digest: string): Promise<Pick<LossStory, 'objects' | 'partial'>> {
  for (let attempt = 0; ; attempt++) {
    const objects = (await fleet.blobObjects(digest)).length
    const partial = (await fleet.objects('.sgwtmp')).length
    if ((objects === 1 && partial === 0) || attempt === 75) return { objects, partial }
    await sleep(200)
  }
}

const nothingLost = {
  ...{ shareBefore: 0, share: 0, most: 0, longestWaitMs: 0, objects: 0, partial: 0, events: [] },
  disturbance: 'nobody held the lease',
} as const

/** Those for whom Redis was too slow when they began agree a little later. */
async function leaderOf(fleet: Fleet, digest: string): Promise<Replica | undefined> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const leader = await fleet.leader(digest)
    if (leader) return leader
    await sleep(50)
  }
  return undefined
}

/** What the upstream had sent by then. */
async function lose(loss: Loss, leader: Replica, upstream: UpstreamProcess, path: string): Promise<number> {
  if (loss === 'kill -9') leader.headwater.signal('SIGKILL')
  if (loss === 'SIGSTOP') leader.headwater.signal('SIGSTOP')
  if (loss === 'partition' || loss === 'cut off') await leader.partition()
  if (loss === 'unreachable') await leader.hide()
  const { bytesSent } = loss === 'partition' ? await upstream.hold(path) : await upstream.sent()
  return bytesSent
}

/** The bounds of losing a leader, told with all that happened where one does not hold. */
export function expectWithinBounds(stories: readonly LossStory[]): void {
  expect(calmOf(stories).filter((story) => !isWithinBounds(story))).toEqual([])
}

/** The rounds of which something can be said. */
export function calmOf(stories: readonly LossStory[]): LossStory[] {
  return stories.filter(({ disturbance }) => disturbance === undefined)
}

export function isWithinBounds({ share, most, longestWaitMs, objects, partial }: LossStory): boolean {
  return share <= most && longestWaitMs <= maxWaitMs && objects === 1 && partial === 0
}

/** A process that has answered nothing yet is slow with its first. */
/** Every replica has its stores back, and connections. */
async function warmUp(fleet: Fleet, upstream: UpstreamProcess): Promise<void> {
  for (const { headwater } of fleet.replicas) {
    const readiness = async () => (await fetch(`${headwater.adminUrl}/readyz`)).text()
    await expect.poll(readiness, { timeout: 30_000 }).toMatch(/^ok/)
  }
  const { digest } = upstream.images[0]!.config
  for (const host of fleet.hosts) await pullFrom(host, `/v2/default/hub/foo/blobs/${digest}`)
}

async function eventsOf(
  fleet: Fleet,
  upstream: UpstreamProcess,
  digest: string,
  since: number,
): Promise<string[]> {
  const { requests } = await upstream.sent()
  const gets = requests
    .filter(({ method, path }) => method === 'GET' && path.includes(digest))
    .map((one) => ({
      at: one.at,
      text: `upstream: ${one.range ?? 'all'}, sent ${one.bodyBytesSent}, ${one.outcome}`,
    }))
  const steps = fleet.replicas.flatMap(({ headwater }) =>
    headwater
      .logged()
      .filter((line) => line.digest === digest)
      .map(({ time, step, seen, leader }) => ({
        at: Number(time),
        text: `${headwater.host}: ${step} ${leader ?? ''} ${seen ?? ''}`,
      })),
  )
  return [...gets, ...steps].sort((a, b) => a.at - b.at).map(({ at, text }) => `${at - since} ms, ${text}`)
}

function failuresOf(pulls: readonly FleetPull[], digest: string): readonly FleetPull[] {
  return pulls.filter((one) => one.error !== undefined || one.status !== 200 || one.digest !== digest)
}
