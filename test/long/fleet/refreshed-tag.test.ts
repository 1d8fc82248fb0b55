import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ask } from '../../rig/asking.ts'
import type { Descriptor } from '../../rig/content.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { type Fleet, type Replica, startFleet } from '../../rig/fleet.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage } from '../../rig/images.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'

const rounds = process.env.HEADWATER_SHORT === '1' ? 1 : 10
const clients = 100
/** Every client rests so long after a pull, as a machine that also runs the clients must. */
const restMs = 250

interface Seen {
  readonly replica: Replica
  /** When it was asked for. */
  readonly at: number
  readonly endedAt: number
  readonly digest: string
}

describeWithParts(['redis-server', 'versitygw'], 'a tag that is refreshed under a hundred pulls', () => {
  let upstream: FakeUpstream
  let fleet: Fleet
  let moves = 0

  beforeAll(async () => {
    upstream = await createFakeUpstream()
    // The first finds out that a tag has moved. For the others it stays fresh: only the first's news moves it there.
    const resources = (at: number) => [
      ...upstreamResources('up', { url: upstream.url, validitySeconds: at === 0 ? 1 : 86_400 }),
      registryResource('hub', ['up']),
    ]
    fleet = await startFleet({ size: 3, upstream: upstream.url, resources })
  })
  afterEach(async () => {
    for (const replica of fleet.replicas) await replica.lift()
  })
  afterAll(async () => {
    await fleet?.close()
    await upstream?.close()
  })

  /** Another image of another type and length each time. */
  async function move(repository: string): Promise<Descriptor> {
    moves += 1
    const kind = moves % 2 === 0 ? 'oci' : 'docker'
    const layers = Array.from({ length: 1 + (moves % 3) }, () => 2_000)
    const options = { tag: 'v1', layers, kind, seed: 5_000 + moves, inMemory: true } as const
    return (await pushImage(contentStore(upstream.content), repository, options)).manifest
  }

  /** Pulls again and again, all clients at once; every answer is compared with what the upstream has. */
  function pullOnAndOn(repository: string, known: ReadonlyMap<string, Descriptor>) {
    const seen: Seen[] = []
    const path = `/v2/default/hub/${repository}`
    let going = true

    async function pull(replica: Replica, agent: Agent): Promise<void> {
      for (const method of ['HEAD', 'GET']) {
        const at = performance.now()
        const answer = await ask(replica.headwater, `${path}/manifests/v1`, { method, agent })
        const { status, headers } = answer
        const digest = String(headers['docker-content-digest'])
        const { mediaType, size } = known.get(digest) ?? {}
        const said = [status, headers['content-type'], Number(headers['content-length'])]
        expect(said, `${method} of ${digest}`).toEqual([200, mediaType, size])
        expect(headers.warning).toBeUndefined()
        if (method === 'HEAD') continue
        expect(answer.body.length).toBe(size)
        seen.push({ replica, at, endedAt: performance.now(), digest })
        const { config, layers } = JSON.parse(answer.body.toString()) as Record<string, Descriptor[]>
        for (const part of [config, layers].flat() as unknown as Descriptor[]) {
          const blob = await ask(replica.headwater, `${path}/blobs/${part.digest}`, { agent })
          expect([blob.status, blob.body.length]).toEqual([200, part.size])
        }
      }
    }

    const done = Promise.all(
      Array.from({ length: clients }, async (_, at) => {
        const agent = new Agent({ keepAlive: true, maxSockets: 1 })
        while (going) {
          await pull(fleet.replicas[at % 3]!, agent)
          await sleep(restMs)
        }
        agent.destroy()
      }),
    )
    let failure: unknown
    done.catch((error: unknown) => {
      going = false
      failure = error
    })
    return {
      seen,
      /** Pulls of so many replicas have ended. */
      reached: (count: number) =>
        expect
          .poll(() => failure ?? new Set(seen.map(({ replica }) => replica)).size, { timeout: 20_000 })
          .toBe(count),
      async stop() {
        going = false
        await done
      },
    }
  }

  /** Where all replicas look, and of which the one that refreshed it tells the others. */
  async function digestInIndex(repository: string): Promise<string | undefined> {
    const [key] = (await fleet.redis.command('KEYS', `hw1:t:*/${repository}}:v1`)).match(/hw1:t:[^\r]+/) ?? []
    return /sha256:[0-9a-f]{64}/.exec(key ? await fleet.redis.command('HGET', key, 'd') : '')?.[0]
  }

  describe.each<[string, (cut: Replica) => unknown]>([
    ['with all that replicas tell each other', () => {}],
    [
      'R15: with a subscription that has fallen silent',
      ({ ways }) => ways.redis.set({ kind: 'stall', those: 'subscribe' }),
    ],
    ['R15: with a subscription that is reset', ({ ways }) => ways.redis.set({ kind: 'reset' })],
    ['R3: with a Redis that is frozen for one of them', ({ ways }) => ways.redis.set({ kind: 'stall' })],
  ])('%s', (title, cut) => {
    it.each(Array.from({ length: rounds }, (_, at) => at + 1))(
      'agrees with itself in every answer, and is the new one everywhere a second later (%i)',
      async () => {
        const repository = `app-${moves}`
        const old = await move(repository)
        const known = new Map([[old.digest as string, old]])
        const pulling = pullOnAndOn(repository, known)
        await pulling.reached(3)
        await sleep(1_000)

        const asked = upstream.requests().length
        const last = fleet.replicas[2]!
        await cut(last)
        // a subscription that is reset comes back by itself
        if (title.includes('reset')) await last.ways.redis.lift()
        const moved = await move(repository)
        known.set(moved.digest, moved)
        await expect
          .poll(() => digestInIndex(repository), { timeout: 10_000, interval: 20 })
          .toBe(moved.digest)
        const refreshedAt = performance.now()
        const late = () => pulling.seen.filter(({ at }) => at > refreshedAt + 1_000)
        await expect
          .poll(() => new Set(late().map(({ replica }) => replica)).size, { timeout: 20_000 })
          .toBe(3)
        await sleep(500)
        await pulling.stop()

        const isOld = ({ digest }: Seen) => digest !== moved.digest
        expect(late().filter(isOld)).toEqual([])
        const first = pulling.seen.find((one) => !isOld(one))!.endedAt
        const lastOld = Math.max(...pulling.seen.filter(isOld).map(({ at }) => at))
        const requests = upstream.requests().slice(asked)
        console.info({
          title,
          answers: pulling.seen.length,
          lastOldAfterFirstNewMs: lastOld - first,
          lastOldAfterRefreshMs: lastOld - refreshedAt,
          upstreamRequests: requests.length,
        })
        // a HEAD each second, and the image once for each replica at most
        expect(requests.length).toBeLessThan(40)
      },
    )
  })
})
