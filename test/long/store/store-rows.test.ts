import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeRedis, type FakeRedis, nonsenseReplies } from '../../rig/fake-redis.ts'
import type { S3Fault, S3Operation } from '../../rig/fake-s3.ts'
import { rawClient } from '../../rig/pulling.ts'
import { type RedisServer, startRedis } from '../../rig/redis.ts'
import { blobKeyOf, createStoreScene, pullImage, type RowImages, type StoreScene } from './store-scene.ts'

interface StoreRow {
  readonly title: string
  readonly begin: (scene: StoreScene, images: RowImages) => unknown
  readonly end?: (scene: StoreScene) => unknown
  /** Layers of more than one part. */
  readonly isLarge?: boolean
}

/** Every third row, so that each kind is among them. */
const isShort = process.env.HEADWATER_SHORT === '1'

/** All requests of one row; none waits for a store for longer, on a busy machine too. */
const longestMs = 4_000

const reads = ['GetObject', 'HeadObject'] as const
const writes = ['PutObject', 'CreateUpload', 'UploadPart', 'CompleteUpload'] as const
const error = (status: number, code: string) => ({ kind: 'error', status, code }) as const

const always =
  (operations: readonly S3Operation[] | 'all', fault: S3Fault) =>
  ({ s3 }: StoreScene) =>
    s3.always(operations, fault)
const once =
  (operations: readonly S3Operation[], fault: S3Fault) =>
  ({ s3 }: StoreScene) => {
    for (const operation of operations) s3.next(operation, fault)
  }

const s3Rows: readonly StoreRow[] = [
  {
    title: 'bucket S1: refuses to be read',
    begin: always(reads, { kind: 'reset', when: 'before' }),
  },
  {
    title: 'bucket S1: refuses everything',
    begin: always('all', { kind: 'reset', when: 'before' }),
  },
  {
    title: 'bucket S2: fails every write',
    begin: always(writes, error(500, 'InternalError')),
    isLarge: true,
  },
  { title: 'bucket S3: does not answer', begin: always('all', { kind: 'hang' }) },
  { title: 'bucket S3: is slow to begin', begin: always(reads, { kind: 'slow', ms: 700 }) },
  { title: 'bucket S3: falls silent within a body', begin: always(reads, { kind: 'stall', bytes: 20_000 }) },
  { title: 'bucket S5: says SlowDown', begin: always('all', error(503, 'SlowDown')) },
  {
    title: 'bucket S6: fails once',
    begin: once([...reads, ...writes], error(500, 'InternalError')),
    isLarge: true,
  },
  { title: 'bucket S6: always fails', begin: always('all', error(500, 'InternalError')) },
  {
    title: 'bucket S7: says 200 to Complete, with an error in it',
    begin: always(['CompleteUpload'], { kind: 'error-in-200', code: 'InternalError' }),
    isLarge: true,
  },
  {
    title: 'bucket S8: does what it is told, and the answer is lost',
    begin: always(['CompleteUpload', 'PutObject'], { kind: 'reset', when: 'after' }),
    isLarge: true,
  },
  {
    title: 'bucket S9: knows no upload when it is to be completed',
    begin: always(['CompleteUpload'], error(404, 'NoSuchUpload')),
    isLarge: true,
  },
  { title: 'bucket S13: refuses our credentials', begin: always('all', error(403, 'AccessDenied')) },
  { title: 'bucket S13: says that they have expired', begin: always('all', error(400, 'ExpiredToken')) },
  {
    title: 'bucket S14: has a conflict for every write',
    begin: always(['PutObject', 'CompleteUpload'], error(409, 'ConditionalRequestConflict')),
    isLarge: true,
  },
  {
    title: 'bucket S14: fails every precondition',
    begin: always(['PutObject', 'CompleteUpload'], error(412, 'PreconditionFailed')),
    isLarge: true,
  },
  { title: 'bucket S15: is in another region', begin: always('all', error(301, 'PermanentRedirect')) },
  { title: 'bucket S16: finds our clock wrong', begin: always('all', error(403, 'RequestTimeTooSkewed')) },
  {
    title: 'bucket S19: is full',
    begin: always(writes, error(507, 'XMinioStorageFull')),
    isLarge: true,
  },
  {
    title: 'bucket S20: is read by many who leave',
    async begin({ headwater }, { stored }) {
      const path = `/v2/default/hub/${stored.repository}/blobs/${stored.layers[0]!.digest}`
      for (let round = 0; round < 100; round++) {
        const { socket } = rawClient(headwater, `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`, { reading: false })
        setTimeout(() => socket.destroy(), round % 20)
        if (round % 10 === 9) await new Promise((resolve) => setTimeout(resolve, 30))
      }
    },
  },
]

const lift = ({ redisPort }: StoreScene) => redisPort.lift()

const redisRows = (redis: () => RedisServer): readonly StoreRow[] => [
  {
    title: 'R2: is killed',
    begin: () => redis().kill(),
    end: () => redis().start(),
  },
  { title: 'R2: resets everybody', begin: ({ redisPort }) => redisPort.set({ kind: 'reset' }), end: lift },
  { title: 'R3: is frozen', begin: () => redis().signal('SIGSTOP'), end: () => redis().signal('SIGCONT') },
  {
    title: 'R4: is slow',
    begin: ({ redisPort }) => redisPort.set({ kind: 'latency', ms: 100 }),
    end: lift,
  },
  { title: 'R5: forgets everything', begin: () => redis().command('FLUSHALL') },
  {
    title: 'R7: is a replica of what is gone',
    begin: () => redis().command('REPLICAOF', '127.0.0.1', '1'),
    end: () => redis().command('REPLICAOF', 'NO', 'ONE'),
  },
  {
    title: 'R9: is full',
    begin: () => redis().command('CONFIG', 'SET', 'maxmemory', '1'),
    end: () => redis().command('CONFIG', 'SET', 'maxmemory', '0'),
  },
  {
    title: 'R10: evicts all the time',
    async begin() {
      await redis().command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-random')
      await redis().command('CONFIG', 'SET', 'maxmemory', '1200kb')
    },
    async end() {
      await redis().command('CONFIG', 'SET', 'maxmemory', '0')
      await redis().command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
    },
  },
  {
    title: 'R13: wants another password',
    async begin({ redisPort }) {
      await redis().command('CONFIG', 'SET', 'requirepass', 'another')
      await redisPort.set({ kind: 'reset' })
      await redisPort.lift()
    },
    async end() {
      await redis().kill()
      await redis().start()
    },
  },
]

/** What clients see while the fault is on, whichever it is: every pull ends well, in time. Then I1 to I9. */
function describeRows(rows: readonly StoreRow[], scene: () => StoreScene): void {
  it.each(rows.map((row, at) => ({ ...row, at })))(
    '$title: every pull ends well, in time, and leaves the invariants intact',
    async ({ begin, end, isLarge, at }) => {
      const { headwater, upstream, s3, invariants, images, get, readiness } = scene()
      const own = images[at]!
      const { warm, stored, cold, later } = own
      invariants.begin()
      await begin(scene(), own)
      for (const image of [warm, stored, cold]) {
        const ms = await pullImage((path) => get(image, path), image)
        expect(ms, image.repository).toBeLessThan(longestMs)
      }
      await pullImage((path) => get(warm, path), warm)
      await invariants.expect({
        upstreams: [upstream],
        requestsAtMost: isLarge ? 40 : 30,
        repository: cold.repository,
        digests: [cold.manifest.digest, stored.layers[0]!.digest],
        async heal() {
          await end?.(scene())
          s3.lift()
          await expect.poll(readiness, { timeout: 15_000 }).toBe('ok')
        },
        cold: `/v2/default/hub/${later.repository}/manifests/v1`,
      })
      await pullImage((path) => get(later, path), later)
      for (const { digest } of later.layers) {
        await expect.poll(() => s3.objects.has(blobKeyOf(digest)), { timeout: 10_000 }).toBe(true)
      }
      await expect.poll(() => s3.uploads.size, { timeout: 10_000 }).toBe(0)
      expect(await headwater.ready()).toBe(true)
    },
  )
}

describeWithParts(['redis-server'], 'a replica with a store that', () => {
  let redis: RedisServer
  let scene: StoreScene
  const rows = [...s3Rows, ...redisRows(() => redis)].filter((_, at) => !isShort || at % 3 === 0)

  beforeAll(async () => {
    redis = await startRedis()
    const large = (row: number) => rows[row]!.isLarge === true
    scene = await createStoreScene({ rows: rows.length, large, redisPort: redis.port })
  })
  afterAll(async () => {
    await scene?.close()
    await redis?.close()
  })

  describeRows(rows, () => scene)
})

describe('a replica with a Redis that', () => {
  let redis: FakeRedis
  let scene: StoreScene
  const replies = nonsenseReplies.filter((_, at) => !isShort || at % 3 === 2)
  const rows = replies.map((reply) => ({
    title: `R14: says ${JSON.stringify(reply.slice(0, 12))} to everything`,
    begin: () => redis.answer(reply),
    end: () => redis.answer(undefined),
  }))

  beforeAll(async () => {
    redis = await createFakeRedis()
    scene = await createStoreScene({ rows: rows.length, redisPort: redis.port })
  })
  afterAll(async () => {
    await scene?.close()
    await redis?.close()
  })

  describeRows(rows, () => scene)
})
