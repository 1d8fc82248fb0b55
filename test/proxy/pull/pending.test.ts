import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, it, onTestFinished } from 'vitest'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'
import { createAdmission } from '../../../proxy/pull/admission.ts'
import { createCatalog } from '../../../proxy/pull/catalog.ts'
import { createCommits } from '../../../proxy/pull/commits.ts'
import { createContent } from '../../../proxy/pull/content.ts'
import type { Place } from '../../../proxy/pull/questions.ts'
import { StoreUnavailableError } from '../../../proxy/store/breaker.ts'
import type { DocumentStore } from '../../../proxy/store/document-store.ts'
import { createFileBlobStore } from '../../../proxy/store/file-blob-store.ts'
import { createFileDocumentStore } from '../../../proxy/store/file-document-store.ts'
import type { Changes, FoundPending, SharedPending, TagKey } from '../../../proxy/store/index-store.ts'
import { createSqliteIndexStore } from '../../../proxy/store/sqlite-index-store.ts'
import { recorder } from './fill-rig.ts'

const key: TagKey = { upstreamId: 'a'.repeat(64), repository: 'app', tag: 'v1' }
const place = { repository: 'app', upstream: { id: key.upstreamId, origin: 'https://one.example' } } as Place
const walks = [{ registry: 'default/hub', ns: '' }]
const old = Buffer.from('{"old":true}')
const released = Buffer.from('{"released":true}')

let now: number
let open: () => ReturnType<typeof replica>
let documents: DocumentStore
/** So many writes of a tag's document fail. */
let failures: number

beforeEach(async () => {
  const root = await mkdtemp(join(tmpdir(), 'pending-'))
  const index = createSqliteIndexStore({ file: ':memory:' })
  onTestFinished(async () => {
    await index.close()
    await rm(root, { recursive: true, force: true })
  })
  const files = await createFileDocumentStore({ root: join(root, 'documents') })
  const blobs = await createFileBlobStore({ root: join(root, 'blobs'), observer: recorder([]) })
  documents = {
    ...files,
    async put(name, body, condition) {
      if (name.includes('/_tags/') && failures-- > 0) throw new StoreUnavailableError('S3 is away')
      return files.put(name, body, condition)
    },
  }
  now = 1_000_000
  failures = 0
  const changes = createNews()
  const pending = createShared()
  open = () => replica({ ...index, changes: changes(), pending }, blobs)
})

function replica(
  index: Parameters<typeof createCatalog>[0]['index'],
  blobs: Parameters<typeof createContent>[0]['blobs'],
) {
  const observer = recorder([])
  const catalog = createCatalog({ documents, index, observer })
  const commits = createCommits(observer)
  const content = createContent({ blobs, observer })
  const admission = createAdmission({ catalog, content, commits, now: () => now })
  return {
    catalog,
    /** What a HEAD learns here. */
    head: (bytes: Buffer, askedAt?: number) =>
      catalog.setPending(key, {
        ...{ digest: digestOf(bytes), mediaType: 'x/manifest', size: bytes.length },
        ...{ askedAt, checkedAt: now, walks },
      }),
    get(bytes: Buffer, tag?: Parameters<typeof admission.manifest>[2]) {
      const manifest = { digest: digestOf(bytes), mediaType: 'x/manifest', bytes, children: [] }
      admission.manifest(place, { ...manifest, subject: undefined }, tag)
    },
    asking: () => admission.asking(key),
    digest: async () => (await catalog.tag(key))?.entry.digest,
    tag: () => catalog.tag(key),
    settled: () => commits.settled(),
  }
}

/** News that always come, at once. */
function createNews(): () => Changes {
  const listeners = new Map<number, (name: string) => void>()
  let replicas = 0
  return () => {
    const me = replicas++
    return {
      epoch: () => 0,
      announce(name) {
        for (const [one, tell] of listeners) if (one !== me) tell(name)
      },
      listen: (onChange) => void listeners.set(me, onChange),
    }
  }
}

/** As Redis would keep it, for one tag. */
function createShared(): SharedPending {
  let held: FoundPending | undefined
  return {
    async put(key, pending) {
      held = { key, pending }
    },
    on: async (_, digest: Digest) => (held?.pending.digest === digest ? [held] : []),
  }
}

it('is written as the tag although S3 is away for a moment', async () => {
  const [a, b] = [open(), open()]
  await a.head(released)
  failures = 1
  b.get(released)
  await expect.poll(() => open().digest(), { timeout: 5_000 }).toBe(digestOf(released))
})

it('does not move a tag back that another replica has checked since', async () => {
  const [a, b, c] = [open(), open(), open()]
  b.get(old, { key, walks, asked: b.asking() })
  await b.settled()
  expect([await a.digest(), await c.digest()]).toEqual([digestOf(old), digestOf(old)])
  now += 1_000
  await a.head(released)
  now += 1_000
  await b.catalog.touchTag((await b.tag())!, now)
  for (const one of [a, c]) {
    one.get(released)
    await one.settled()
    expect(await open().digest()).toBe(digestOf(old))
    expect((await one.tag())?.entry).toMatchObject({ digest: digestOf(old), checkedAt: now })
  }
})

it('does not move a tag back by an answer that another replica asked for before', async () => {
  const [a, b] = [open(), open()]
  const early = b.asking()
  now += 1_000
  const late = a.asking()
  now += 1_000
  a.get(released, { key, walks, asked: late })
  await a.settled()
  now += 1_000
  b.get(old, { key, walks, asked: early })
  await b.settled()
  for (const one of [a, b, open()]) expect(await one.digest()).toBe(digestOf(released))
})

it.each(['the same replica', 'another'])(
  'does not hold a tag back by a HEAD that was asked before it moved, and came to %s',
  async (who) => {
    const [a, b] = [open(), open()]
    const early = a.asking().at
    now += 1_000
    const late = b.asking()
    now += 1_000
    await a.head(old, early)
    now += 1_000
    const fetching = who === 'another' ? open() : a
    fetching.get(old)
    await fetching.settled()
    expect(await b.digest()).toBe(digestOf(old))
    now += 1_000
    b.get(released, { key, walks, asked: late })
    await b.settled()
    for (const one of [a, b, open()]) expect(await one.digest()).toBe(digestOf(released))
  },
)

it('does not move a tag back by a HEAD that was asked before and answered after', async () => {
  const [a, b, c] = [open(), open(), open()]
  const early = a.asking().at
  now += 1_000
  const late = b.asking()
  b.get(released, { key, walks, asked: late })
  await b.settled()
  now += 1_000
  await a.head(old, early)
  c.get(old)
  await c.settled()
  for (const one of [b, c, open()]) expect(await one.digest()).toBe(digestOf(released))
})

it('moves a tag on by the answer that was asked for last, although one asked for before came in between', async () => {
  const [a, b] = [open(), open()]
  const early = b.asking()
  now += 1_000
  const late = a.asking()
  now += 1_000
  b.get(old, { key, walks, asked: early })
  await b.settled()
  expect(await a.digest()).toBe(digestOf(old))
  a.get(released, { key, walks, asked: late })
  await a.settled()
  for (const one of [a, b, open()]) expect(await one.digest()).toBe(digestOf(released))
})
