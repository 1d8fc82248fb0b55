import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { blobKey, NoRoomError, type OpenBlob } from '../../../proxy/store/blob-store.ts'
import { StoreUnavailableError } from '../../../proxy/store/breaker.ts'
import { BucketSettingsError } from '../../../proxy/store/bucket-settings-error.ts'
import { createDiskBudget } from '../../../proxy/store/disk-budget.ts'
import { formatTagDocument } from '../../../proxy/store/documents.ts'
import { createFileBlobStore } from '../../../proxy/store/file-blob-store.ts'
import { createGate } from '../../../proxy/store/gate.ts'
import type { IndexStore } from '../../../proxy/store/index-store.ts'
import { tagDocumentKey } from '../../../proxy/store/keys.ts'
import { rebuildIndex } from '../../../proxy/store/rebuild-index.ts'
import { createS3BlobStore, type S3BlobStore } from '../../../proxy/store/s3-blob-store.ts'
import { type Bucket, createBucket } from '../../../proxy/store/s3-bucket.ts'
import { createS3DocumentStore } from '../../../proxy/store/s3-document-store.ts'
import { createUpload, partBytesFor } from '../../../proxy/store/s3-upload.ts'
import { softDocuments } from '../../../proxy/store/soft-stores.ts'
import { putBlob, readAll, readBlob } from '../../contracts/blobs.ts'
import { collect } from '../../contracts/collect.ts'
import { createFakeS3, type FakeS3, type S3Fault } from '../../rig/fake-s3.ts'
import { noObserver } from './temporary-folder.ts'

const mebi = 1024 * 1024
const large = randomBytes(20 * mebi)
const small = randomBytes(10_000)
const limits = { answerMs: 1_500, writeMs: 1_000, uploadMs: 2_000, idleMs: 300 }

const inAnHour = new Date(Date.now() + 3_600_000).toUTCString()

let s3: FakeS3
let bucket: Bucket
let folder: string
const failures: string[] = []
const stores: S3BlobStore[] = []

beforeEach(async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'key')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'secret')
  s3 = await createFakeS3()
  bucket = createBucket({ bucket: 'it', endpoint: s3.endpoint, limits })
  folder = await mkdtemp(join(tmpdir(), 'headwater-s3-faults-'))
  failures.length = 0
})

afterEach(async () => {
  s3.lift()
  for (const store of stores.splice(0)) await store.settled()
  bucket.close()
  await s3.close()
  await rm(folder, { recursive: true, force: true })
  vi.unstubAllEnvs()
})

async function openStore(spoolBytes?: number, from = bucket): Promise<S3BlobStore> {
  const root = await mkdtemp(join(folder, 'hot-'))
  const hot = await createFileBlobStore({
    root,
    observer: noObserver,
    budget: createDiskBudget({ maxBytes: spoolBytes }),
  })
  const observer = { storeFailure: (operation: string) => failures.push(operation) }
  const store = createS3BlobStore({ bucket: from, hot, observer })
  stores.push(store)
  return store
}

const keyOf = (bytes: Buffer) => `blobs/${blobKey(digestOf(bytes))}`
const has = (bytes: Buffer) => s3.objects.get(keyOf(bytes))?.equals(bytes) ?? false

/** What a fault must leave: nothing unfinished in the bucket or on disk, and the next one works by itself. */
async function expectHealed(store: S3BlobStore): Promise<void> {
  s3.lift()
  await expect.poll(() => bucket.available, { timeout: 5_000 }).toBe(true)
  await store.settled()
  expect(s3.uploads.size).toBe(0)
  const again = randomBytes(5_000)
  await putBlob(store, again)
  expect(has(again)).toBe(true)
  for (const name of await readdir(folder)) {
    expect(await readdir(join(folder, name, '.spool'))).toEqual([])
  }
}

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}

const away: readonly (readonly [string, S3Fault])[] = [
  ['refuses (bucket S1)', { kind: 'reset', when: 'before' }],
  ['does not answer (bucket S3)', { kind: 'hang' }],
  ['says SlowDown all the time (bucket S5)', { kind: 'error', status: 503, code: 'SlowDown' }],
  ['fails all the time (bucket S6)', { kind: 'error', status: 500, code: 'InternalError' }],
  ['refuses our credentials (bucket S13)', { kind: 'error', status: 403, code: 'ExpiredToken' }],
  ['forbids (bucket S13)', { kind: 'error', status: 403, code: 'AccessDenied' }],
]

describe.each(away)('an S3 that %s', (_, fault) => {
  it('is asked a few times within bounds, and nobody waits for it after that', async () => {
    s3.put(keyOf(small), small)
    const store = await openStore()
    const documents = softDocuments(createS3DocumentStore({ bucket }))
    s3.always('all', fault)
    const first = await timeOf(async () => {
      for (let n = 0; n < 3; n++)
        await expect(store.open(digestOf(small))).rejects.toThrow(StoreUnavailableError)
    })
    expect(first).toBeLessThan(3 * limits.answerMs + 500)
    expect(bucket.available).toBe(false)
    const later = await timeOf(async () => {
      for (let n = 0; n < 100; n++) {
        await expect(store.open(digestOf(small))).rejects.toThrow(StoreUnavailableError)
        expect(await store.stat(digestOf(small))).toBeUndefined()
        expect(await documents.get('a/b')).toBeUndefined()
      }
    })
    expect(later).toBeLessThan(limits.answerMs)
    await expectHealed(store)
    expect((await readBlob(store, digestOf(small)))?.equals(small)).toBe(true)
  })

  it('bucket S2: keeps a commit from succeeding, and nothing of it stays', async () => {
    const store = await openStore()
    s3.always(['PutObject', 'CreateUpload', 'UploadPart', 'CompleteUpload'], fault)
    await expect(putBlob(store, small)).rejects.toThrow(StoreUnavailableError)
    await expect(putBlob(store, large)).rejects.toThrow(StoreUnavailableError)
    await expectHealed(store)
    expect([has(small), has(large)]).toEqual([false, false])
  })

  it('leaves what is on disk', async () => {
    const store = await openStore()
    await putBlob(store, small)
    s3.always('all', fault)
    expect((await readBlob(store, digestOf(small)))?.equals(small)).toBe(true)
    s3.lift()
  })
})

describe('a fault that passes', () => {
  it.each([
    ['SlowDown (bucket S5)', { kind: 'error', status: 503, code: 'SlowDown' }],
    ['InternalError (bucket S6)', { kind: 'error', status: 500, code: 'InternalError' }],
    [
      'bucket S16: RequestTimeTooSkewed',
      { kind: 'error', status: 403, code: 'RequestTimeTooSkewed', headers: { date: inAnHour } },
    ],
  ] as const)('%s, once, is not noticed by reads or writes', async (_, fault) => {
    const store = await openStore()
    for (const operation of ['GetObject', 'PutObject', 'UploadPart', 'CompleteUpload'] as const) {
      s3.next(operation, fault)
    }
    await putBlob(store, small)
    await putBlob(store, large)
    expect([has(small), has(large)]).toEqual([true, true])
    expect((await readBlob(await openStore(), digestOf(large)))?.equals(large)).toBe(true)
    expect(failures).toEqual([])
  })

  it.each([
    ['bucket S4: a body that is cut', 'cut', undefined, 3],
    ['bucket S4: a body that is cut, without room on disk', 'cut', 16 * mebi, 3],
    ['bucket S3: a body that stalls', 'stall', undefined, 1],
    ['bucket S3: a body that stalls, without room on disk', 'stall', 16 * mebi, 1],
  ] as const)('%s goes on where it was, from the very same object', async (_, kind, spoolBytes, times) => {
    s3.put(keyOf(large), large)
    const store = await openStore(spoolBytes)
    s3.next('GetObject', { kind, bytes: 3 * mebi }, times)
    expect((await readBlob(store, digestOf(large)))?.equals(large)).toBe(true)
    expect(s3.requests.filter((line) => line.startsWith('GetObject'))).toHaveLength(times + 1)
    await expectHealed(store)
  })

  it.each(['cut', 'stall'] as const)(
    'bucket S3 and bucket S4: a body that always ends in a %s ends its readers in time, and is whole the next time',
    async (kind) => {
      s3.put(keyOf(large), large)
      const store = await openStore()
      s3.always(['GetObject'], { kind, bytes: mebi })
      const blob = (await store.open(digestOf(large)))!
      const took = await timeOf(() => expect(readAll(blob, Buffer.alloc(large.length + 1))).rejects.toThrow())
      expect(took).toBeLessThan(5 * limits.idleMs + 1_000)
      await blob.close()
      await expectHealed(store)
      expect((await readBlob(store, digestOf(large)))?.equals(large)).toBe(true)
    },
  )

  it.each([
    ['wrong bytes', (start: number) => Buffer.alloc(large.length - start)],
    ['too many bytes', (start: number) => Buffer.concat([large.subarray(start), Buffer.from('x')])],
  ])('bucket S4: %s of the upstream that goes on do not take away what is stored', async (_, wrong) => {
    s3.put(keyOf(large), large)
    const store = await openStore()
    s3.always(['GetObject'], { kind: 'cut', bytes: mebi })
    const blob = (await store.open(digestOf(large), async (start) => Readable.from([wrong(start)])))!
    const ended = await readAll(blob, Buffer.alloc(large.length + 1)).catch((error: unknown) => error)
    expect(ended).toBeInstanceOf(StoreUnavailableError)
    expect((await store.stat(digestOf(large)))?.size).toBeUndefined() // not counted on for a while
    await blob.close()
    expect(has(large)).toBe(true)
    s3.lift()
    await store.settled()
    expect((await readBlob(store, digestOf(large)))?.equals(large)).toBe(true)
  })

  it('an object that is replaced while it is read is not mixed with the other', async () => {
    s3.put(keyOf(large), large)
    const store = await openStore()
    s3.next('GetObject', { kind: 'cut', bytes: 3 * mebi })
    const blob = (await store.open(digestOf(large)))!
    s3.put(keyOf(large), Buffer.alloc(large.length))
    await expect(readAll(blob, Buffer.alloc(large.length + 1))).rejects.toThrow()
    await blob.close()
    s3.remove(keyOf(large))
    await expectHealed(store)
  })
})

describe('putting parts together', () => {
  it('bucket S7: takes a 200 with an error in it for an error', async () => {
    const store = await openStore()
    s3.always(['CompleteUpload'], { kind: 'error-in-200', code: 'InternalError' })
    await expect(putBlob(store, large)).rejects.toThrow(StoreUnavailableError)
    expect(has(large)).toBe(false)
    await expectHealed(store)
  })

  it.each([
    ['CompleteUpload', large],
    ['PutObject', small],
  ] as const)('bucket S8: %s that is done with its answer lost is done', async (operation, bytes) => {
    const store = await openStore()
    s3.always([operation], { kind: 'reset', when: 'after' })
    await putBlob(store, bytes)
    expect(has(bytes)).toBe(true)
    await expectHealed(store)
  })

  it.each([
    ['bucket S9: NoSuchUpload', 404, 'NoSuchUpload'],
    ['bucket S14: ConditionalRequestConflict', 409, 'ConditionalRequestConflict'],
  ])('%s begins again', async (_, status, code) => {
    const store = await openStore()
    s3.next('CompleteUpload', { kind: 'error', status, code })
    await putBlob(store, large)
    expect(has(large)).toBe(true)
    await expectHealed(store)
  })

  it('bucket S14: what another put there meanwhile is as good', async () => {
    const store = await openStore()
    s3.put(keyOf(small), small)
    s3.put(keyOf(large), large)
    await putBlob(store, small)
    await putBlob(store, large)
    await expectHealed(store)
  })

  it('what lies there in another size makes room', async () => {
    const store = await openStore()
    s3.put(keyOf(small), Buffer.from('short'))
    s3.put(keyOf(large), Buffer.from('short'))
    await putBlob(store, small)
    await putBlob(store, large)
    expect([has(small), has(large)]).toEqual([true, true])
    await expectHealed(store)
  })

  it('bucket S14: a conflict of two writers of a document is asked again', async () => {
    const documents = createS3DocumentStore({ bucket })
    s3.next('PutObject', { kind: 'error', status: 409, code: 'ConditionalRequestConflict' }, 2)
    expect(await documents.put('a/b', '1', { ifAbsent: true })).toBe(true)
    expect(await documents.put('a/b', '1', { ifAbsent: true })).toBe(false)
  })

  it.each([
    [507, 'InsufficientStorage'],
    [507, 'XMinioStorageFull'],
    [400, 'EntityTooLarge'],
  ])('bucket S19: %i %s is no room', async (status, code) => {
    const store = await openStore()
    s3.always(['PutObject', 'UploadPart'], { kind: 'error', status, code })
    await expect(putBlob(store, small)).rejects.toThrow(NoRoomError)
    await expect(putBlob(store, large)).rejects.toThrow(NoRoomError)
    expect(bucket.available).toBe(true)
    await expectHealed(store)
  })
})

describe('at the start', () => {
  it.each([
    ['bucket S15: in another region', 301, 'PermanentRedirect'],
    ['bucket S15: signed for another region', 400, 'AuthorizationHeaderMalformed'],
    ['not there', 404, 'NoSuchBucket'],
  ])('a bucket that is %s is said so, and nobody else is asked', async (_, status, code) => {
    const headers = { location: 'http://127.0.0.1:1/', 'x-amz-bucket-region': 'eu-west-9' }
    s3.always('all', { kind: 'error', status, code, headers })
    await expect(bucket.check()).rejects.toThrow(BucketSettingsError)
    expect(s3.requests).toEqual(['ListObjects '])
  })

  it.each(away.map(([name, fault]) => [name, fault] as const))('S3 that %s is away', async (_, fault) => {
    s3.always('all', fault)
    expect(await bucket.check()).toBe(false)
    expect(bucket.available).toBe(false)
    s3.lift()
    expect(await Promise.all([expect.poll(() => bucket.available, { timeout: 3_000 }).toBe(true)]))
  })
})

describe('at the start, what is away is said why', () => {
  async function reasonOf(): Promise<string> {
    const reasons: unknown[] = []
    const onChange = (_: boolean, error: unknown) => void reasons.push(error)
    const asked = createBucket({ bucket: 'it', endpoint: s3.endpoint, limits, onChange })
    expect(await asked.check()).toBe(false)
    asked.close()
    expect(reasons).toHaveLength(1)
    return (reasons[0] as Error).message
  }

  it('bucket S13: where its credentials are refused', async () => {
    s3.always('all', { kind: 'error', status: 403, code: 'SignatureDoesNotMatch' })
    expect(await reasonOf()).toMatch(/^bucket it: S3 refuses these credentials.*403 SignatureDoesNotMatch/)
  })

  it('bucket S13: where a session is over, which is no mistake of the settings', async () => {
    s3.always('all', { kind: 'error', status: 400, code: 'ExpiredToken' })
    expect(await reasonOf()).toBe(
      'bucket it: the credentials for S3 are not good any more (400 ExpiredToken)',
    )
  })

  it('bucket S13: where there are no credentials', async () => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', undefined)
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', undefined)
    vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true')
    expect(await reasonOf()).toMatch(/^bucket it: S3 cannot be reached: .*credentials/)
  })
})

describe('the region that requests are signed for', () => {
  const signedFor = async (region?: string) => {
    const asked = createBucket({ bucket: 'it', endpoint: s3.endpoint, region })
    const url = new URL(await asked.presign('a'))
    asked.close()
    return url.searchParams.get('X-Amz-Credential')?.split('/')[2]
  }

  it('is what it is told, or what the SDK finds, or one that most servers take', async () => {
    vi.stubEnv('AWS_CONFIG_FILE', '/dev/null')
    expect(await signedFor()).toBe('us-east-1')
    vi.stubEnv('AWS_REGION', 'garage')
    expect(await signedFor()).toBe('garage')
    expect(await signedFor('eu-west-9')).toBe('eu-west-9')
  })
})

it('an object in an archive is not given, and says nothing of S3', async () => {
  s3.put(keyOf(small), small)
  const store = await openStore()
  s3.next('GetObject', { kind: 'error', status: 403, code: 'InvalidObjectState' }, 5)
  for (let n = 0; n < 5; n++) await expect(store.open(digestOf(small))).rejects.toThrow(StoreUnavailableError)
  expect(bucket.available).toBe(true)
})

it('a document in an archive is not given either', async () => {
  s3.put('documents/tag', small)
  s3.next('GetObject', { kind: 'error', status: 403, code: 'InvalidObjectState' })
  await expect(bucket.get('documents/tag')).rejects.toThrow(StoreUnavailableError)
})

it('a server that knows no ranges is not read from the middle, and ends nothing', async () => {
  s3.put('small', small)
  const { etag, body } = (await bucket.open('small'))!
  body.destroy()
  for (let n = 0; n < 5; n++) {
    s3.next('GetObject', { kind: 'no-range' })
    await expect(bucket.open('small', { start: 10, ifMatch: etag })).rejects.toThrow('another range')
  }
  await new Promise(setImmediate)
})

it('HEADs keep their connection', async () => {
  s3.put('small', small)
  for (let n = 0; n < 10; n++) await bucket.head('small')
  expect(s3.accepted()).toBeLessThan(4)
})

it('says what S3 did not do where it was not even reached in time', async () => {
  s3.always('all', { kind: 'hang' })
  const said: unknown[] = []
  const mute = createBucket({
    ...{ bucket: 'it', endpoint: s3.endpoint, limits: { ...limits, answerMs: 200 } },
    onChange: (_available, error) => said.push((error as Error).message),
  })
  expect(await mute.check()).toBe(false)
  mute.close()
  expect(said).toEqual(['bucket it: S3 cannot be reached: no answer after 200 ms'])
})

it('bucket S12: who found other bytes under a key does not take away the right ones that came since', async () => {
  const key = keyOf(small)
  s3.put(key, Buffer.from('spoiled'))
  const found = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  let heads = 0
  const slow = {
    ...bucket,
    async head(name: string) {
      heads += 1
      if (heads === 2) await goOn.promise
      const head = await bucket.head(name)
      found.resolve()
      return head
    },
    async delete(name: string, ifMatch?: string) {
      await goOn.promise
      return bucket.delete(name, ifMatch)
    },
  }
  const uploadTo = (to: Bucket) =>
    createUpload({
      ...{ bucket: to, key, size: small.length, gate: createGate(6) },
      read: async (buffer, position) => small.copy(buffer, 0, position),
    })
  const late = uploadTo(slow)
    .finish(small.length)
    .catch(() => {})
  await found.promise
  await expect(uploadTo(bucket).finish(small.length)).rejects.toThrow(StoreUnavailableError)
  await uploadTo(bucket).finish(small.length)
  goOn.resolve()
  await late
  expect(has(small)).toBe(true)
})

it('bucket S3: documents are read into an index though one of them comes late', async () => {
  const documents = createS3DocumentStore({ bucket })
  const upstreamId = 'a'.repeat(64)
  const entry = { digest: digestOf(small), mediaType: 'x/m', size: 1, writtenAt: 1, checkedAt: 0, walks: [] }
  for (const tag of ['a', 'b', 'c', 'd']) {
    const key = tagDocumentKey({ upstreamId, repository: 'app', tag })
    await documents.put(key, formatTagDocument(entry))
  }
  s3.next('GetObject', { kind: 'slow', ms: 2 * limits.answerMs })
  const told: string[] = []
  const index = { putTag: async ({ tag }: { tag: string }) => void told.push(tag) } as unknown as IndexStore
  expect(await rebuildIndex(documents, index, { atOnce: 2 })).toMatchObject({ tags: 4 })
  expect(told.sort()).toEqual(['a', 'b', 'c', 'd'])
})

describe('sockets', () => {
  it('bucket S20: come back from a thousand readers that left', async () => {
    s3.put(keyOf(large), large)
    const patient = createBucket({ bucket: 'it', endpoint: s3.endpoint })
    const store = await openStore(16 * mebi, patient)
    const digest = digestOf(large)
    for (let round = 0; round < 20; round++) {
      const blobs = await Promise.all(Array.from({ length: 50 }, () => store.open(digest)))
      await Promise.all(blobs.slice(0, 10).map((blob) => blob?.read(Buffer.alloc(1000), 0)))
      await Promise.all(blobs.map((blob) => blob?.close()))
    }
    await store.settled()
    await expect.poll(() => s3.openSockets(), { timeout: 5_000 }).toBeLessThan(40)
    expect((await readBlob(store, digestOf(large)))?.equals(large)).toBe(true)
    patient.close()
  })

  it('are nobody else’s where more readers than there may be bodies read none of what they have begun', async () => {
    s3.put(keyOf(large), large)
    s3.put(keyOf(small), small)
    const store = await openStore(16 * mebi)
    const digest = digestOf(large)
    const slow: OpenBlob[] = []
    const first = Buffer.alloc(1_000)
    while (slow.length < 150) {
      slow.push((await store.open(digest))!)
      await slow.at(-1)!.read(first, 0)
    }
    expect(s3.openSockets()).toBeLessThan(140)
    expect((await bucket.head(keyOf(small)))?.size).toBe(small.length)
    expect(await bucket.put('documents/a', small)).toBe(true)
    expect((await readBlob(store, digestOf(small)))?.equals(small)).toBe(true)
    expect(bucket.available).toBe(true)

    for (const blob of [slow[0]!, slow[149]!]) {
      const rest = await readAll(blob, Buffer.alloc(large.length + 1), first.length)
      expect(rest.equals(large.subarray(first.length))).toBe(true)
    }
    for (const blob of slow) await blob.close()
    expect(failures).toEqual([])
    await expect.poll(() => s3.openSockets(), { timeout: 5_000 }).toBeLessThan(20)
  }, 30_000)

  it('of a reader that began far ahead are given back once what it reads is on disk', async () => {
    s3.put(keyOf(large), large)
    const store = await openStore()
    const far = (await store.open(digestOf(large)))!
    const buffer = Buffer.alloc(1_000)
    expect(await far.read(buffer, 15 * mebi)).toBeGreaterThan(0)
    expect(s3.requests.filter((line) => line.startsWith('GetObject'))).toHaveLength(2)
    await store.settled()
    await far.read(buffer, 16 * mebi)
    expect(buffer.equals(large.subarray(16 * mebi, 16 * mebi + 1_000))).toBe(true)
    await expect.poll(() => s3.openSockets()).toBeLessThan(2)
    await far.close()
  })
})

describe('sizes', () => {
  it.each([
    [undefined, 16 * mebi],
    [0, 8 * mebi],
    [5 * 1024 * mebi, 8 * mebi],
    [78_125 * mebi, 8 * mebi],
    [1024 * 1024 * mebi, 105 * mebi],
    [5 * 1024 * 1024 * mebi, 525 * mebi],
  ])('bucket S21: a blob of %s bytes has parts of %i, at most 10,000 of them', (size, part) => {
    expect(partBytesFor(size)).toBe(part)
    expect(Math.ceil((size ?? 0) / part)).toBeLessThanOrEqual(10_000)
  })

  it('bucket S21: a blob of no bytes is kept and read', async () => {
    const store = await openStore()
    await putBlob(store, Buffer.alloc(0))
    expect(await readBlob(await openStore(), digestOf(Buffer.alloc(0)))).toEqual(Buffer.alloc(0))
  })
})

it('bucket S17: lists through truncated pages, and passes over what is no blob of ours', async () => {
  const all = Array.from({ length: 350 }, (_, n) => Buffer.from(`blob ${n}`))
  for (const bytes of all) s3.put(keyOf(bytes), bytes)
  for (const key of ['blobs/readme', 'blobs/sha256/zz/zz', 'other', 'blobs/sha256/ab'])
    s3.put(key, Buffer.from('x'))
  const listed = await collect((await openStore()).list())
  expect(listed.map(({ digest }) => digest).sort()).toEqual(all.map((bytes) => digestOf(bytes)).sort())
})

it('bucket S10: uploads below a prefix are found also where a prefix stands for one key alone', async () => {
  for (const key of ['blobs/a', 'blobs/b', 'blobs/c', 'others']) await bucket.startUpload(key)
  const listed = await collect(bucket.listUploads('blobs/'))
  expect(listed.map(({ key }) => key).sort()).toEqual(['blobs/a', 'blobs/b', 'blobs/c'])
})

describe('a deletion of many', () => {
  it('bucket S18: says what was not deleted, although the answer is a 200', async () => {
    const store = await openStore()
    const all = Array.from({ length: 3 }, (_, n) => Buffer.from(`blob ${n}`))
    for (const bytes of all) await putBlob(store, bytes)
    const listed = await collect(store.list())
    s3.next('DeleteObjects', { kind: 'error-for-key', key: keyOf(all[1]!), code: 'AccessDenied' })
    expect(await store.deleteMany(listed)).toEqual([
      { digest: digestOf(all[1]!), reason: 'AccessDenied: as the test wants' },
    ])
    expect(all.map(has)).toEqual([false, true, false])
    expect(await readBlob(store, digestOf(all[0]!))).toBeUndefined()
    expect(await readBlob(store, digestOf(all[1]!))).toEqual(all[1])
  })

  it.each([
    [400, 'MissingContentMD5'],
    [405, 'MethodNotAllowed'],
    [501, 'NotImplemented'],
  ])('bucket S18: goes one by one at a server that answers %i %s', async (status, code) => {
    const store = await openStore()
    const all = Array.from({ length: 4 }, (_, n) => Buffer.from(`blob ${n}`))
    for (const bytes of all) await putBlob(store, bytes)
    const digests = all.map((bytes) => digestOf(bytes))
    const listed = await collect(store.list())
    const known = all.map((_, n) => listed.find(({ digest }) => digest === digests[n])!)
    s3.next('DeleteObjects', { kind: 'error', status, code })
    s3.next('DeleteObject', { kind: 'error', status: 403, code: 'AccessDenied' })
    const failures = await store.deleteMany([...known.slice(0, 3), { ...known[3]!, etag: '"another"' }])
    expect(failures.map(({ reason }) => reason).sort()).toEqual([
      '403 AccessDenied: as the test wants',
      'PreconditionFailed',
    ])
    expect(all.map(has).filter(Boolean)).toHaveLength(2)
    expect(has(all[3]!)).toBe(true)
  })

  it('leaves what is another by now', async () => {
    const store = await openStore()
    await putBlob(store, small)
    const [one] = await collect(store.list())
    const failures = await store.deleteMany([{ ...one!, etag: '"another"' }])
    expect(failures).toMatchObject([{ digest: digestOf(small) }])
    expect(has(small)).toBe(true)
  })

  it('bucket S13: that S3 refuses to our credentials is a failure of each of them', async () => {
    const store = await openStore()
    await putBlob(store, small)
    s3.next('DeleteObjects', { kind: 'error', status: 403, code: 'AccessDenied' })
    const [failure, ...others] = await collect(store.list()).then(store.deleteMany)
    expect(failure).toEqual({ digest: digestOf(small), reason: '403 AccessDenied: as the test wants' })
    expect(others).toEqual([])
    expect(has(small)).toBe(true)
  })

  it.each([
    ['a 500 (bucket S6)', [{ kind: 'error', status: 500, code: 'InternalError' }]],
    ['a 504 of a balancer before it', [{ kind: 'error', status: 504, code: '' }]],
    ['an error within a 200 (bucket S18)', [{ kind: 'error-in-200', code: 'InternalError' }]],
    [
      'a 504 and then a refusal',
      [
        { kind: 'error', status: 504, code: '' },
        { kind: 'error', status: 403, code: 'AccessDenied' },
      ],
    ],
  ] as const)('fails as a whole after %s: S3 may come to it later', async (_, faults) => {
    const store = await openStore()
    await putBlob(store, small)
    for (const fault of faults) s3.next('DeleteObjects', fault, faults.length === 1 ? 3 : 1)
    await expect(collect(store.list()).then(store.deleteMany)).rejects.toThrow()
  })

  it('fails as a whole where S3 says nothing: it may come to it later', async () => {
    const store = await openStore()
    await putBlob(store, small)
    s3.always(['DeleteObjects'], { kind: 'hang' })
    await expect(collect(store.list()).then(store.deleteMany)).rejects.toThrow(StoreUnavailableError)
  })
})
