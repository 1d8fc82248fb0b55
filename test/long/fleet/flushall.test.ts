import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseRedisAddress } from '../../../proxy/store/redis-address.ts'
import { connectToRedis } from '../../../proxy/store/redis-connection.ts'
import { createRedisIndexStore } from '../../../proxy/store/redis-index-store.ts'
import { collect } from '../../contracts/collect.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type Fleet, startFleet } from '../../rig/fleet.ts'
import { pullFrom, startLoad } from '../../rig/fleet-clients.ts'
import { mustRun } from '../../rig/process.ts'
import { startUpstreamProcess, type UpstreamProcess } from '../../rig/start-upstream-process.ts'

const isShort = process.env.HEADWATER_SHORT === '1'
const flushes = isShort ? 5 : 50
const repositories = ['foo', 'foo/bar', 'other']

describeWithParts(['redis-server', 'versitygw'], 'a fleet whose Redis loses all it knows', () => {
  let upstream: UpstreamProcess
  let fleet: Fleet

  beforeAll(async () => {
    upstream = await startUpstreamProcess({
      images: repositories.map((repository, seed) => ({
        ...{ repository, tag: 'bar', seed },
        layers: [2 * 1024 ** 2, 50_000, 1000],
      })),
    })
    fleet = await startFleet({ size: 3, upstream: upstream.url })
    for (const { path } of everything()) await pullFrom(fleet.balancer, path)
    // the bytes and the link of each, and the tags
    const documents = everything().length
    await expectSoon(async () => (await fleet.objects('/_links/')).length, documents - repositories.length)
    await expectSoon(async () => (await fleet.objects('/_tags/')).length, repositories.length)
  })
  afterAll(async () => {
    await fleet?.close()
    await upstream?.close()
  })

  function everything(): { path: string; digest: string }[] {
    return upstream.images.flatMap(({ repository, tag, manifest, config, layers }) => {
      const base = `/v2/default/hub/${repository}`
      return [
        { path: `${base}/manifests/${tag}`, digest: manifest.digest },
        { path: `${base}/manifests/${manifest.digest}`, digest: manifest.digest },
        ...[config, ...layers].map(({ digest }) => ({ path: `${base}/blobs/${digest}`, digest })),
      ]
    })
  }

  async function expectEverythingFrom(hosts: readonly string[]): Promise<void> {
    for (const host of hosts) {
      const pulls = await Promise.all(everything().map(({ path }) => pullFrom(host, path)))
      for (const [at, { digest }] of everything().entries()) {
        expect(pulls[at]).toMatchObject({ status: 200, digest, error: undefined })
      }
    }
  }

  /** Every tag and link that Redis tells of, with what it says of their use. */
  async function listing(): Promise<ReadonlyMap<string, { usedAt: number | undefined; downloads: number }>> {
    const connection = connectToRedis(parseRedisAddress(fleet.redis.url)!)
    try {
      await connection.ready(2_000)
      const index = createRedisIndexStore({ redis: connection })
      const all = (await collect(index.listUpstreams())).map(async (id) => [
        ...(await collect(index.listTags(id))),
        ...(await collect(index.listLinks(id))),
      ])
      return new Map(
        (await Promise.all(all))
          .flat()
          .map(({ key, usedAt, downloads }) => [JSON.stringify(key), { usedAt, downloads }]),
      )
    } finally {
      connection.close()
    }
  }

  const reindex = () =>
    mustRun(
      process.execPath,
      [
        ...['cli/main.ts', 'reindex', '--redis-url', fleet.redis.url],
        ...['--s3-bucket', fleet.bucket, '--s3-endpoint', fleet.s3.endpoint],
      ],
      { env: fleet.s3.credentials },
    )

  it('has its listing again after a reindex, counts as of the last snapshot', async () => {
    for (let times = 0; times < 3; times++) await expectEverythingFrom(fleet.hosts)
    await Promise.all(fleet.replicas.map((replica) => fleet.restart(replica)))
    const before = await listing()
    expect(before.size).toBe(everything().length)
    expect([...before.values()].every(({ downloads }) => downloads >= 9)).toBe(true)
    await fleet.redis.command('FLUSHALL')
    expect((await listing()).size).toBe(0)
    expect(await reindex()).toMatch(/; done/)
    expect(await listing()).toEqual(before)
  })

  it('fails no pull: under load, without the upstream, and from a new replica', async () => {
    const wrong = everything()
    const load = startLoad(
      wrong.map(
        ({ path }) =>
          () =>
            pullFrom(fleet.balancer, path),
      ),
    )
    for (let times = 0; times < flushes; times++) {
      await sleep(200)
      await fleet.redis.command('FLUSHALL')
    }
    const right = new Set(everything().map(({ digest }) => digest))
    const done = await load.stop()
    expect(done.filter(({ status, error, digest }) => status !== 200 || error || !right.has(digest))).toEqual(
      [],
    )
    expect(done.length).toBeGreaterThan(everything().length)

    await upstream.close()
    await fleet.redis.command('FLUSHALL')
    await expectEverythingFrom(fleet.hosts)

    await fleet.redis.command('FLUSHALL')
    const fresh = await fleet.replace(fleet.replicas[0]!)
    await expectEverythingFrom([fresh.headwater.host])
    await reindex()
    expect((await listing()).size).toBe(everything().length)
  })
})

async function expectSoon(ask: () => Promise<number>, wanted: number): Promise<void> {
  for (let waited = 0; waited < 20_000; waited += 100) {
    if ((await ask()) >= wanted) return
    await sleep(100)
  }
  throw new Error(`${await ask()} where ${wanted} were to be`)
}
