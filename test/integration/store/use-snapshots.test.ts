import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { createUses } from '../../../proxy/pull/uses.ts'
import type { DocumentStore } from '../../../proxy/store/document-store.ts'
import { formatLinkDocument, formatTagDocument } from '../../../proxy/store/documents.ts'
import type { LinkEntry, LinkKey, TagEntry, TagKey, Use } from '../../../proxy/store/index-store.ts'
import { linkDocumentKey, tagDocumentKey } from '../../../proxy/store/keys.ts'
import { rebuildIndex } from '../../../proxy/store/rebuild-index.ts'
import { parseRedisAddress } from '../../../proxy/store/redis-address.ts'
import { connectToRedis, type RedisConnection } from '../../../proxy/store/redis-connection.ts'
import { createRedisIndexStore } from '../../../proxy/store/redis-index-store.ts'
import { createRedisUseTotals } from '../../../proxy/store/redis-use-totals.ts'
import { type Bucket, createBucket } from '../../../proxy/store/s3-bucket.ts'
import { createS3DocumentStore } from '../../../proxy/store/s3-document-store.ts'
import { createUseSnapshots } from '../../../proxy/store/use-snapshots.ts'
import { collect } from '../../contracts/collect.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type RedisServer, startRedis } from '../../rig/redis.ts'
import { type S3Server, startS3 } from '../../rig/s3-server.ts'

const place = { upstreamId: 'a'.repeat(64), repository: 'library/app' }
const digest = digestOf(Buffer.from('m'))
const tag: TagKey = { ...place, tag: 'v1' }
const unused: TagKey = { ...place, tag: '__proto__' }
const link: LinkKey = { ...place, kind: 'manifest', digest }
const tagEntry: TagEntry = { digest, mediaType: 'x/m', size: 1, writtenAt: 5, checkedAt: 0, walks: [] }
const linkEntry: LinkEntry = { mediaType: 'x/m', size: 1, origin: 'origin-0', children: [] }

function storeFailure(operation: string, error: unknown): void {
  throw new Error(operation, { cause: error })
}

describeWithParts(['redis-server', 'versitygw'], 'uses', () => {
  let redis: RedisServer
  let s3: S3Server
  let connection: RedisConnection
  let bucket: Bucket
  let documents: DocumentStore

  beforeAll(async () => {
    redis = await startRedis()
    s3 = await startS3()
    for (const [name, value] of Object.entries(s3.credentials)) vi.stubEnv(name, value)
    connection = connectToRedis(parseRedisAddress(redis.url)!)
    await connection.ready(2_000)
  })
  beforeEach(async () => {
    await redis.command('FLUSHALL')
    bucket = createBucket({ bucket: await s3.makeBucket(), endpoint: s3.endpoint })
    documents = createS3DocumentStore({ bucket })
    for (const key of [tag, unused]) {
      await documents.put(tagDocumentKey(key), formatTagDocument(tagEntry))
    }
    await documents.put(linkDocumentKey(link), formatLinkDocument(linkEntry))
    await rebuildIndex(documents, createRedisIndexStore({ redis: connection }))
    return () => bucket.close()
  })
  afterAll(async () => {
    connection.close()
    vi.unstubAllEnvs()
    await s3.close()
    await redis.close()
  })

  function replica(now: () => number) {
    const index = createRedisIndexStore({ redis: connection })
    const totals = createRedisUseTotals({ redis: connection })
    const snapshots = createUseSnapshots({ documents, totals })
    return { index, totals, uses: createUses({ index, now, observer: { storeFailure }, snapshots }) }
  }

  async function listed() {
    const index = createRedisIndexStore({ redis: connection })
    const tags = await collect(index.listTags(place.upstreamId))
    const links = await collect(index.listLinks(place.upstreamId))
    return [...tags, ...links].map(({ usedAt, downloads }) => [usedAt, downloads])
  }

  it('of all replicas are there again, as of the last snapshot, when Redis lost all and was told anew', async () => {
    const [one, other] = [replica(() => 1_000), replica(() => 2_000)]
    for (let n = 0; n < 3; n++) one.uses.tag(tag, 1)
    other.uses.tag(tag, 1)
    other.uses.link(link, 1)
    await Promise.all([one.uses.flush(), other.uses.flush()])
    await Promise.all([one.uses.snapshot(), other.uses.snapshot()])
    const before = await listed()
    expect(before).toEqual([
      [undefined, 0],
      [2_000, 4],
      [2_000, 1],
    ])
    one.uses.tag(tag, 1)
    await one.uses.flush() // no snapshot has this one

    await redis.command('FLUSHALL')
    expect(await listed()).toEqual([])
    for (let times = 0; times < 2; times++) {
      const done = await rebuildIndex(documents, one.index, { atOnce: 4, totals: one.totals })
      expect(done).toEqual({ tags: 2, links: 1, uses: 2, skipped: 0 })
      expect(await listed()).toEqual(before)
    }
  })

  it('counted after such a loss neither lower what was kept nor are lost with the next', async () => {
    const one = replica(() => 1_000)
    for (let n = 0; n < 5; n++) one.uses.tag(tag, 1)
    await one.uses.flush()
    await one.uses.snapshot()
    await redis.command('FLUSHALL')
    await rebuildIndex(documents, one.index)
    one.uses.tag(tag, 1)
    await one.uses.flush()
    await one.uses.snapshot()
    one.uses.tag(tag, 1)
    await one.uses.flush()
    expect(await one.totals.read([{ tag }])).toEqual([{ tag, usedAt: 1_000, downloads: 6 }])
  })

  it('are kept for the next snapshot while Redis or S3 is away', async () => {
    const one = replica(() => 1_000)
    one.uses.tag(tag, 1)
    await one.uses.flush()
    await s3.kill()
    await one.uses.snapshot()
    await s3.start()
    const key = `upstreams/${place.upstreamId}/${place.repository}/_uses`
    await expect
      .poll(
        async () => {
          await one.uses.snapshot()
          return (await documents.get(key).catch(() => undefined))?.body
        },
        { timeout: 20_000 },
      )
      .toBe('{"tags":[["v1",1000,1]],"manifests":[],"blobs":[]}')
  })

  it('that nobody had since are not written again', async () => {
    const one = replica(() => 1_000)
    const seen: Use[] = []
    one.uses.tag(tag, 0)
    await one.uses.flush()
    await one.uses.snapshot()
    seen.push(...(await one.totals.read([{ tag }, { tag: unused }])))
    expect(seen).toEqual([{ tag, usedAt: 1_000, downloads: 0 }])
    const key = `upstreams/${place.upstreamId}/${place.repository}/_uses`
    await documents.delete(key)
    await one.uses.snapshot()
    expect(await documents.get(key)).toBeUndefined()
  })

  it('are kept beside a key that holds something else', async () => {
    const one = replica(() => 1_000)
    one.uses.tag(tag, 1)
    one.uses.tag(unused, 1)
    await one.uses.flush()
    await redis.command('SET', `hw1:t:{${place.upstreamId}/${place.repository}}:v1`, 'nonsense')
    await one.uses.snapshot()
    const key = `upstreams/${place.upstreamId}/${place.repository}/_uses`
    expect((await documents.get(key))?.body).toBe('{"tags":[["__proto__",1000,1]],"manifests":[],"blobs":[]}')
  })
})
