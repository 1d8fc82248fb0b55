import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { blobKey } from '../../../proxy/store/blob-store.ts'
import { StoreUnavailableError } from '../../../proxy/store/breaker.ts'
import { createFileBlobStore } from '../../../proxy/store/file-blob-store.ts'
import { createS3BlobStore, type S3BlobStore } from '../../../proxy/store/s3-blob-store.ts'
import { type Bucket, type BucketOptions, createBucket } from '../../../proxy/store/s3-bucket.ts'
import { putBlob, readBlob } from '../../contracts/blobs.ts'
import { createFakeS3, type FakeS3, type S3Fault } from '../../rig/fake-s3.ts'
import { noObserver } from './temporary-folder.ts'

const bytes = randomBytes(10_000)
const digest = digestOf(bytes)
const limits = { answerMs: 1_000, writeMs: 1_000, uploadMs: 2_000, idleMs: 300 }

let s3: FakeS3
let folder: string
let failures: string[]
const buckets: Bucket[] = []
const stores: S3BlobStore[] = []

beforeEach(async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'key')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'canary-secret')
  s3 = await createFakeS3()
  folder = await mkdtemp(join(tmpdir(), 'headwater-redirects-'))
  failures = []
})

afterEach(async () => {
  s3.lift()
  for (const store of stores.splice(0)) await store.settled()
  for (const bucket of buckets.splice(0)) bucket.close()
  await s3.close()
  await rm(folder, { recursive: true, force: true })
  vi.unstubAllEnvs()
})

function open(options: Partial<BucketOptions> = {}): Bucket {
  const bucket = createBucket({ bucket: 'cache', endpoint: s3.endpoint, limits, ...options })
  buckets.push(bucket)
  return bucket
}

async function openStore(bucket = open(), options: { seenMs?: number } = {}): Promise<S3BlobStore> {
  const hot = await createFileBlobStore({ root: await mkdtemp(join(folder, 'hot-')), observer: noObserver })
  const observer = { storeFailure: (operation: string) => failures.push(operation) }
  const store = createS3BlobStore({ bucket, hot, observer, ...options })
  stores.push(store)
  return store
}

const looks = () => s3.requests.filter((one) => one.startsWith('HeadObject')).length

describe('a URL for clients', () => {
  it.each([
    [
      'of a server that is not AWS',
      { endpoint: 'http://s3.cluster:9000' },
      'http://s3.cluster:9000/cache/a/b',
    ],
    [
      'by another address of it',
      { endpoint: 'http://s3.cluster:9000', redirectEndpoint: 'https://s3.example' },
      'https://s3.example/cache/a/b',
    ],
    ['of AWS', { endpoint: undefined }, 'https://cache.s3.eu-central-1.amazonaws.com/a/b'],
    [
      'of AWS by another address',
      { endpoint: undefined, redirectEndpoint: 'https://vpce.example:8443' },
      'https://cache.vpce.example:8443/a/b',
    ],
  ])('%s is signed for a minute, a GET and this host', async (_, options, expected) => {
    const url = new URL(await open({ region: 'eu-central-1', ...options }).presign('a/b'))
    expect(url.origin + url.pathname).toBe(expected)
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      'X-Amz-Expires': '60',
      'X-Amz-SignedHeaders': 'host',
      'response-content-type': 'application/octet-stream',
    })
    expect(url.href).not.toContain('canary')
  })

  it('is of the hour that bucket S16 has, where our clock is wrong', async () => {
    const bucket = open()
    const inAnHour = new Date(Date.now() + 3_600_000)
    const headers = { date: inAnHour.toUTCString() }
    s3.always(['GetObject'], { kind: 'error', status: 403, code: 'RequestTimeTooSkewed', headers })
    await expect(bucket.get('a')).rejects.toThrow()
    const signed = new URL(await bucket.presign('a')).searchParams.get('X-Amz-Date') ?? ''
    const iso = signed.replace(/(....)(..)(..T..)(..)(..Z)/, '$1-$2-$3:$4:$5')
    expect(Math.abs(Date.parse(iso) - inAnHour.getTime())).toBeLessThan(60_000)
  })
})

describe('a blob that a client may fetch from S3', () => {
  it('is looked for there once for many clients, and again after a while', async () => {
    const store = await openStore(open(), { seenMs: 300 })
    await putBlob(store, bytes)
    const before = looks()
    const urls = await Promise.all(Array.from({ length: 50 }, () => store.presign?.(digest, bytes.length)))
    expect(urls.every((url) => url?.startsWith(`${s3.endpoint}/cache/blobs/${blobKey(digest)}?`))).toBe(true)
    expect(looks() - before).toBe(1)
    s3.remove(`blobs/${blobKey(digest)}`)
    await expect.poll(() => store.presign?.(digest, bytes.length)).toBeUndefined()
    expect(looks() - before).toBeGreaterThan(1)
  })

  it('is none when it is absent, of another size (bucket S12), or just deleted', async () => {
    const store = await openStore()
    expect(await store.presign?.(digest, bytes.length)).toBeUndefined()
    await putBlob(store, bytes)
    expect(await store.presign?.(digest, bytes.length + 1)).toBeUndefined()
    expect(await store.presign?.(digest, bytes.length)).toBeDefined()
    await store.delete(digest)
    expect(await store.presign?.(digest, bytes.length)).toBeUndefined()
  })

  const away: readonly (readonly [string, S3Fault])[] = [
    ['refuses (bucket S1)', { kind: 'reset', when: 'before' }],
    ['does not answer (bucket S3)', { kind: 'hang' }],
    ['says SlowDown (bucket S5)', { kind: 'error', status: 503, code: 'SlowDown' }],
    ['refuses our credentials (bucket S13)', { kind: 'error', status: 403, code: 'ExpiredToken' }],
  ]

  it.each(away)(
    'is sent from the local disk while S3 %s, and by redirect again after that',
    async (_, fault) => {
      const bucket = open()
      const store = await openStore(bucket)
      await putBlob(store, bytes)
      s3.always('all', fault)
      for (let n = 0; n < 4; n++) expect(await store.presign?.(digest, bytes.length)).toBeUndefined()
      expect(bucket.available).toBe(false)
      const asked = s3.requests.length
      const startedAt = performance.now()
      for (let n = 0; n < 100; n++) expect(await store.presign?.(digest, bytes.length)).toBeUndefined()
      expect(performance.now() - startedAt).toBeLessThan(500)
      expect(s3.requests.length - asked).toBeLessThan(10) // probes
      expect((await readBlob(store, digest))?.equals(bytes)).toBe(true)
      s3.lift()
      await expect.poll(() => bucket.available, { timeout: 5_000 }).toBe(true)
      expect(await store.presign?.(digest, bytes.length)).toBeDefined()
    },
  )

  it.each([
    ['refuses to give (bucket S1)', { kind: 'error', status: 500, code: 'InternalError' }],
    ['always cuts (bucket S4)', { kind: 'cut', bytes: 100 }],
  ] as const)('is not fetched there where S3 has it and %s', async (_, fault) => {
    const bucket = open()
    const store = await openStore(bucket)
    s3.put(`blobs/${blobKey(digest)}`, bytes)
    expect(await store.presign?.(digest, bytes.length)).toBeDefined()
    s3.always(['GetObject'], fault)
    await expect(readBlob(store, digest)).rejects.toThrow(StoreUnavailableError)
    await expect.poll(() => bucket.available, { timeout: 5_000 }).toBe(true)
    expect(await store.presign?.(digest, bytes.length)).toBeUndefined()
  })

  it('is sent by the proxy while no credentials can be had', async () => {
    const store = await openStore()
    await putBlob(store, bytes)
    expect(await store.presign?.(digest, bytes.length)).toBeDefined()
    const poor = open()
    const other = await openStore({
      ...poor,
      available: true,
      presign: () => Promise.reject(new Error('no credentials')),
    })
    expect(await other.presign?.(digest, bytes.length)).toBeUndefined()
    expect(failures).toEqual(['blob.presign'])
  })
})
