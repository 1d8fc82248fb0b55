import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { formatLinkDocument, formatTagDocument } from '../../../proxy/store/documents.ts'
import type { LinkEntry, LinkKey, TagEntry, TagKey } from '../../../proxy/store/index-store.ts'
import { linkDocumentKey, tagDocumentKey } from '../../../proxy/store/keys.ts'
import { parseRedisAddress } from '../../../proxy/store/redis-address.ts'
import { connectToRedis } from '../../../proxy/store/redis-connection.ts'
import { createRedisIndexStore } from '../../../proxy/store/redis-index-store.ts'
import { createBucket } from '../../../proxy/store/s3-bucket.ts'
import { createS3DocumentStore } from '../../../proxy/store/s3-document-store.ts'
import { collect } from '../../contracts/collect.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { run } from '../../rig/process.ts'
import { type RedisServer, startRedis } from '../../rig/redis.ts'
import { type S3Server, startS3 } from '../../rig/s3-server.ts'

const upstreamId = 'a'.repeat(64)
const tagEntry: TagEntry = {
  ...{ digest: digestOf(Buffer.from('m')), mediaType: 'x/manifest', size: 100, writtenAt: 5, checkedAt: 0 },
  walks: [],
}
const linkEntry: LinkEntry = { mediaType: 'x/manifest', size: 100, origin: 'origin-0', children: [] }
const tags = Array.from(
  { length: 200 },
  (_, n): TagKey => ({ upstreamId, repository: `r/${n % 9}`, tag: `t${n}` }),
)
const links = Array.from(
  { length: 200 },
  (_, n): LinkKey => ({
    ...{ upstreamId, repository: `r/${n % 9}`, kind: 'manifest' },
    digest: digestOf(Buffer.from(`${n}`)),
  }),
)

describeWithParts(['redis-server', 'versitygw'], 'headwater reindex', () => {
  let redis: RedisServer
  let s3: S3Server
  let bucket: string
  beforeAll(async () => {
    redis = await startRedis()
    s3 = await startS3()
    bucket = await s3.makeBucket()
    for (const [name, value] of Object.entries(s3.credentials)) vi.stubEnv(name, value)
    const opened = createBucket({ bucket, endpoint: s3.endpoint })
    const documents = createS3DocumentStore({ bucket: opened })
    await Promise.all([
      ...tags.map((key) => documents.put(tagDocumentKey(key), formatTagDocument(tagEntry))),
      ...links.map((key) => documents.put(linkDocumentKey(key), formatLinkDocument(linkEntry))),
      documents.put('upstreams/not-ours', '{}'),
    ])
    opened.close()
  })
  afterAll(async () => {
    vi.unstubAllEnvs()
    await s3.close()
    await redis.close()
  })

  const reindex = (url: string, name = bucket) =>
    run(process.execPath, [
      ...['cli/main.ts', 'reindex', '--redis-url', url, '--s3-bucket', name, '--s3-endpoint', s3.endpoint],
    ])

  it('gives Redis every tag and link again, keeping what it knows better', async () => {
    const connection = connectToRedis(parseRedisAddress(redis.url)!)
    await connection.ready(2_000)
    const index = createRedisIndexStore({ redis: connection })
    await index.putTag(tags[0]!, { ...tagEntry, checkedAt: 77 })
    const { code, stdout } = await reindex(redis.url)
    expect([code, stdout]).toEqual([0, '200 tags, 200 links, 0 uses, 1 other documents; done\n'])
    expect(await collect(index.listTags(upstreamId))).toHaveLength(200)
    expect(await collect(index.listLinks(upstreamId))).toHaveLength(200)
    expect((await index.getTag(tags[0]!))?.checkedAt).toBe(77)
    expect(await index.getTag(tags[1]!)).toEqual(tagEntry)
    connection.close()
  })

  it('says in one line what it cannot reach', async () => {
    const [noRedis, noBucket] = [
      await reindex('redis://127.0.0.1:1'),
      await reindex(redis.url, 'nothing-there'),
    ]
    expect([noRedis.code, noRedis.stderr]).toEqual([
      1,
      'headwater: Redis cannot be reached: connect ECONNREFUSED 127.0.0.1:1\n',
    ])
    expect([noBucket.code, noBucket.stderr]).toEqual([
      1,
      'headwater: bucket nothing-there: there is no such bucket\n',
    ])
    expect((await run(process.execPath, ['cli/main.ts', 'reindex'])).code).toBe(2)
  })

  it('says in one line what refuses it', async () => {
    await redis.command('ACL', 'SETUSER', 'reader', 'on', '>secret', '~hw1:*', '+@read', '+info', '+client')
    const at = (user: string) => `redis://${user}@127.0.0.1:${redis.port}`
    expect(await reindex(at('reader:wrong'))).toMatchObject({
      code: 1,
      stderr:
        'headwater: Redis cannot be reached: WRONGPASS invalid username-password pair or user is disabled.\n',
    })
    expect(await reindex(at('reader:secret'))).toMatchObject({
      code: 1,
      stderr: "headwater: Redis refuses: NOPERM this user has no permissions to run the 'eval' command\n",
    })
    await redis.command('FLUSHALL')
    await redis.command('CONFIG', 'SET', 'maxmemory', '1')
    const full = await reindex(redis.url)
    await redis.command('CONFIG', 'SET', 'maxmemory', '0')
    expect(full).toMatchObject({
      code: 1,
      stderr: "headwater: Redis refuses: OOM command not allowed when used memory > 'maxmemory'.\n",
    })
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'another')
    const refused = await reindex(redis.url)
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', s3.credentials.AWS_SECRET_ACCESS_KEY)
    expect([refused.code, refused.stderr]).toEqual([
      1,
      `headwater: bucket ${bucket}: S3 refuses these credentials, or they have no s3:ListBucket for it (403 SignatureDoesNotMatch)\n`,
    ])
  })
})
