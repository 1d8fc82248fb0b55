import { randomBytes } from 'node:crypto'
import { utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, describe, expect, it } from 'vitest'
import { runSweeps, type SweepReport, sweep } from '../../../proxy/cleanup/sweep.ts'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'
import { StoreUnavailableError } from '../../../proxy/store/breaker.ts'
import {
  createDeletionMarks,
  type DeletionMarks,
  withMarksLifted,
} from '../../../proxy/store/deletion-marks.ts'
import { formatLinkDocument, formatTagDocument } from '../../../proxy/store/documents.ts'
import { createFileBlobStore, type FileBlobStore } from '../../../proxy/store/file-blob-store.ts'
import { createFileDocumentStore, type FileDocumentStore } from '../../../proxy/store/file-document-store.ts'
import { linkDocumentKey, tagDocumentKey } from '../../../proxy/store/keys.ts'
import type { Sweepable } from '../../../proxy/store/sweepable.ts'
import { begin, putBlob } from '../../contracts/blobs.ts'
import { collect } from '../../contracts/collect.ts'
import { noObserver as observer, temporaryFolder } from '../store/temporary-folder.ts'

const graceMs = 1_000
const place = { upstreamId: 'a'.repeat(64), repository: 'library/alpine' }

let folder: string
let blobs: FileBlobStore
let documents: FileDocumentStore
let marks: DeletionMarks
let time: number

beforeEach(async () => {
  folder = await temporaryFolder()
  blobs = await createFileBlobStore({ root: join(folder, 'blobs'), observer })
  documents = await createFileDocumentStore({ root: join(folder, 'documents') })
  const markDocuments = await createFileDocumentStore({ root: join(folder, 'marks') })
  marks = createDeletionMarks({ documents: markDocuments, now: () => time })
  time = Date.now()
})

async function sweepAfter(
  ms: number,
  others: Partial<Sweepable> = {},
  { monotonicNow = () => performance.now() } = {},
): Promise<SweepReport> {
  time += ms
  const stores = { blobs, documents, marks, leftovers: blobs.orphans, uploads: undefined, ...others }
  const clocks = { now: () => time, monotonicNow }
  return sweep({ stores, maySweepShared: () => true, ...clocks, graceMs, leftoverMs: 60_000 })
}

async function store(text: string): Promise<Digest> {
  await putBlob(blobs, Buffer.from(text))
  return digestOf(Buffer.from(text))
}

async function link(digest: Digest, kind: 'blob' | 'manifest' = 'blob'): Promise<void> {
  const entry = { mediaType: 'application/octet-stream', size: 1, origin: 'http://up', children: [] }
  await documents.put(linkDocumentKey({ ...place, kind, digest }), formatLinkDocument(entry))
}

const endedIn = (part: string, message: string) => ({
  endedEarly: [{ part, error: expect.objectContaining({ message }) }],
})
const unlink = (digest: Digest) => documents.delete(linkDocumentKey({ ...place, kind: 'blob', digest }))
const isStored = async (digest: Digest) => (await blobs.stat(digest)) !== undefined

describe('a blob that nothing links', () => {
  it('is marked by one sweep, and deleted by the next after the time of grace', async () => {
    const digest = await store('unlinked')
    expect(await sweepAfter(0)).toMatchObject({ marked: 1, blobs: 0 })
    expect(await sweepAfter(graceMs - 1)).toMatchObject({ marked: 0, blobs: 0 })
    expect(await isStored(digest)).toBe(true)
    expect(await sweepAfter(1)).toMatchObject({ marked: 0, blobs: 1, blobBytes: 8, failures: [] })
    expect(await isStored(digest)).toBe(false)
    expect(await collect(marks.list())).toEqual([])
  })

  it('stays where it is linked between the two', async () => {
    const digest = await store('linked late')
    await sweepAfter(0)
    await link(digest)
    expect(await sweepAfter(graceMs)).toMatchObject({ blobs: 0 })
    expect(await isStored(digest)).toBe(true)
    expect(await collect(marks.list())).toEqual([])
  })

  it('stays for another time of grace once somebody was about to link it', async () => {
    const digest = await store('about to be linked')
    await sweepAfter(0)
    await marks.lift(digest)
    expect(await sweepAfter(graceMs)).toMatchObject({ marked: 1, blobs: 0 })
    expect(await sweepAfter(graceMs)).toMatchObject({ blobs: 1 })
  })

  it('stays where somebody was about to link it after its links were looked for', async () => {
    const digest = await store('at the last moment')
    await sweepAfter(0)
    const late: Sweepable['documents'] = {
      get: documents.get,
      async *list(prefix) {
        yield* documents.list(prefix)
        await marks.lift(digest)
        await link(digest)
      },
    }
    expect(await sweepAfter(graceMs, { documents: late })).toMatchObject({ blobs: 0 })
    expect(await isStored(digest)).toBe(true)
  })

  it.each(['ifMatch', 'ifAbsent'])(
    'stays where the store does not keep to %s, which is told',
    async (name) => {
      const place = await createFileDocumentStore({ root: join(folder, 'unkept') })
      const unkept = createDeletionMarks({
        documents: {
          ...place,
          put: (key, body, condition) =>
            place.put(key, body, condition && name in condition ? undefined : condition),
        },
        now: () => time,
      })
      const digest = await store('being linked')
      expect(await sweepAfter(0, { marks: unkept })).toMatchObject({ marked: 1, endedEarly: [] })
      for (let n = 0; n < 2; n++) {
        const report = await sweepAfter(graceMs, { marks: unkept })
        expect(report).toMatchObject({ blobs: 0, endedEarly: [{ part: 'blobs' }] })
        expect((report.endedEarly[0]!.error as Error).message).toMatch(
          /does not keep to If-None-Match and If-Match/,
        )
      }
      expect(await isStored(digest)).toBe(true)
    },
  )

  it('is told of when it cannot be deleted, and may be linked then', async () => {
    const digest = await store('refused')
    await sweepAfter(0)
    const refusing = {
      list: blobs.list,
      deleteMany: async () => [{ digest, reason: 'AccessDenied' }],
    }
    expect(await sweepAfter(graceMs, { blobs: refusing })).toMatchObject({
      blobs: 0,
      failures: [{ digest, reason: 'AccessDenied' }],
    })
    await marks.lift(digest)
  })

  it('is deleted by the next where a sweep died over it, but not at once', async () => {
    const digest = await store('orphan of a sweep')
    await sweepAfter(0)
    const dying = {
      list: blobs.list,
      deleteMany: async () => {
        throw new Error('killed')
      },
    }
    expect(await sweepAfter(graceMs, { blobs: dying })).toMatchObject(endedIn('blobs', 'killed'))
    expect(await sweepAfter(30_000)).toMatchObject({ blobs: 0 })
    expect(await sweepAfter(30_000)).toMatchObject({ blobs: 1 })
    expect(await isStored(digest)).toBe(false)
  })

  it('is linked again five minutes after a sweep died over it, though no other has come', async () => {
    const digest = await store('orphan of a sweep')
    await marks.write(digest, 'condemned', undefined)
    time += 299_000
    const lifting = marks.lift(digest)
    const soon = await Promise.race([lifting.then(() => 'lifted'), sleep(300, 'not lifted')])
    expect(soon).toBe('not lifted')
    time += 1_000
    await lifting
    expect(await marks.read(digest)).toMatchObject({ state: 'kept' })
  })

  it('is linked again at once where condemning took too long for it to be deleted', async () => {
    const digest = await store('slow')
    await sweepAfter(0)
    let elapsed = 0
    const slow = { monotonicNow: () => (elapsed += 11_000) }
    expect(await sweepAfter(graceMs, {}, slow)).toMatchObject({ blobs: 0 })
    expect(await marks.read(digest)).toMatchObject({ state: 'marked' })
    expect(await sweepAfter(graceMs)).toMatchObject({ blobs: 1 })
  })

  it('is left condemned where condemning took so long that another sweep may be at it', async () => {
    const digest = await store('very slow')
    await sweepAfter(0)
    let elapsed = 0
    const slow = { monotonicNow: () => (elapsed += 61_000) }
    expect(await sweepAfter(graceMs, {}, slow)).toMatchObject({ blobs: 0 })
    expect(await marks.read(digest)).toMatchObject({ state: 'condemned' })
  })

  it('is condemned by one of two sweeps at once', async () => {
    const digests = await Promise.all(Array.from({ length: 30 }, (_, n) => store(`blob ${n}`)))
    await sweepAfter(0)
    const [one, other] = await Promise.all([sweepAfter(graceMs), sweepAfter(0)])
    expect(one.blobs + other.blobs).toBe(digests.length)
  })
})

describe('a blob that is linked', () => {
  it('stays, whatever the kind of its link', async () => {
    const [layer, manifest] = [await store('a layer'), await store('a manifest')]
    await link(layer)
    await link(manifest, 'manifest')
    for (let n = 0; n < 3; n++) expect(await sweepAfter(graceMs)).toMatchObject({ marked: 0, blobs: 0 })
    await unlink(layer)
    await sweepAfter(0)
    expect(await sweepAfter(graceMs)).toMatchObject({ blobs: 1 })
    expect(await isStored(manifest)).toBe(true)
  })

  it('is a list of referrers too', async () => {
    const digest = await store('{"manifests":[]}')
    const key = { ...place, tag: `referrers/sha256/${'b'.repeat(64)}` }
    const entry = { digest, mediaType: 'x', size: 16, writtenAt: 1, checkedAt: 1, walks: [] }
    await documents.put(tagDocumentKey(key), formatTagDocument(entry))
    for (let n = 0; n < 3; n++) expect(await sweepAfter(graceMs)).toMatchObject({ marked: 0, blobs: 0 })
  })

  it('stays where the documents cannot be listed to their end', async () => {
    const digest = await store('linked')
    await link(digest)
    const broken: Sweepable['documents'] = {
      get: documents.get,
      // biome-ignore lint/correctness/useYield: it fails before it has anything
      async *list() {
        throw new Error('S3 is away')
      },
    }
    for (let n = 0; n < 3; n++)
      expect(await sweepAfter(graceMs, { documents: broken })).toMatchObject(endedIn('blobs', 'S3 is away'))
    expect(await isStored(digest)).toBe(true)
  })
})

describe('who is about to link a blob', () => {
  it('keeps it by committing it again, and by asking whether it is there', async () => {
    const kept = withMarksLifted(blobs, marks)
    const [one, other] = [await store('one'), await store('other')]
    await sweepAfter(0)
    await putBlob(kept, Buffer.from('one'))
    expect(await kept.retain!(other)).toMatchObject({ size: 5 })
    expect(await sweepAfter(graceMs)).toMatchObject({ marked: 2, blobs: 0 })
    expect([await isStored(one), await isStored(other)]).toEqual([true, true])
  })

  it('lifts the mark once more at the end of a commit that took long', async () => {
    const bytes = Buffer.from('slow')
    const slow: FileBlobStore = {
      ...blobs,
      async create(digest, size) {
        const writer = (await blobs.create(digest, size))!
        const commit = () => writer.commit().then(() => sweepAfter(0))
        return { ...writer, commit: async () => void (await commit()) }
      },
    }
    await putBlob(withMarksLifted(slow, marks, { longMs: 0 }), bytes)
    expect(await marks.read(digestOf(bytes))).toMatchObject({ state: 'kept' })
  })

  it('goes on where the marks cannot be read for a moment, and fails where they cannot be for long', async () => {
    const bytes = Buffer.from('at a bad moment')
    const markDocuments = await createFileDocumentStore({ root: join(folder, 'marks') })
    let badMoments = 3
    const get: FileDocumentStore['get'] = async (key) => {
      if (badMoments-- > 0) throw new StoreUnavailableError('S3 is away')
      return markDocuments.get(key)
    }
    const flaky = createDeletionMarks({ documents: { ...markDocuments, get }, now: () => time })
    await putBlob(withMarksLifted(blobs, flaky), bytes)
    expect(await isStored(digestOf(bytes))).toBe(true)
    badMoments = Number.POSITIVE_INFINITY
    await expect(putBlob(withMarksLifted(blobs, flaky), bytes)).rejects.toThrow('S3 is away')
    const known = performance.now()
    await expect(flaky.lift(digestOf(bytes))).rejects.toThrow('S3 is away')
    expect(performance.now() - known).toBeLessThan(2_500)
    for (const moments of [0, 3]) {
      badMoments = moments
      await flaky.lift(digestOf(bytes))
    }
  }, 20_000)

  it('waits for a deletion under way, and then finds it gone', async () => {
    const digest = await store('going')
    await marks.write(digest, 'condemned', undefined)
    const retained = withMarksLifted(blobs, marks).retain!(digest)
    await blobs.delete(digest)
    await marks.remove(digest)
    expect(await retained).toBeUndefined()
  })
})

describe('what was left over on the disk', () => {
  it('goes once it is old, and the spool files of running fills stay', async () => {
    const left = join(folder, 'blobs', '.spool', 'left')
    await writeFile(left, randomBytes(100))
    const writer = await begin(blobs, digestOf(Buffer.from('running')), 7)
    await writer.append([Buffer.from('run')])
    const old = new Date(time - 3_600_000)
    for (const { path } of await collect(blobs.leftovers())) await utimes(path, old, old)
    await writeFile(join(folder, 'blobs', '.spool', 'new'), 'x')

    expect(await sweepAfter(0)).toMatchObject({ files: 1, fileBytes: 100 })
    expect(await collect(blobs.leftovers())).toHaveLength(2)
    await writer.append([Buffer.from('ning')])
    await writer.commit()
    await writer.close()
  })
})

describe('a replica that is not the one to sweep what all share', () => {
  it('sweeps its own files alone', async () => {
    await store('unlinked')
    const left = join(folder, 'blobs', '.spool', 'left')
    await writeFile(left, 'x')
    const stores = { blobs, documents, marks, leftovers: blobs.orphans, uploads: undefined }
    const clocks = { now: () => time + 1_000, monotonicNow: () => performance.now() }
    const report = await sweep({ stores, maySweepShared: () => false, ...clocks, leftoverMs: 0 })
    expect(report).toMatchObject({ files: 1, marked: 0 })
  })
})

describe('a part of a sweep that fails', () => {
  const uploadsOf = (
    uploads: Partial<NonNullable<Sweepable['uploads']>>,
    keys: readonly string[] = ['blobs/bad', 'blobs/good'],
  ): Sweepable['uploads'] => ({
    prefix: 'blobs/',
    async *listUploads() {
      for (const key of keys) yield { key, uploadId: key, startedAt: time - 3_600_000 }
    },
    lastPartAt: async () => undefined,
    abortUpload: async () => {},
    ...uploads,
  })
  const refused = () => new StoreUnavailableError('S3 is away', { cause: new Error('Access Denied') })

  it('does not keep the others from their end', async () => {
    await store('unlinked')
    const uploads = uploadsOf({
      // biome-ignore lint/correctness/useYield: it fails before it has anything
      async *listUploads() {
        throw refused()
      },
    })
    const leftovers = (): never => {
      throw new Error('the disk is ill')
    }
    await sweepAfter(0)
    const report = await sweepAfter(graceMs, { uploads, leftovers })
    expect(report).toMatchObject({ files: 0, uploads: 0, blobs: 1, failures: [] })
    expect(report.endedEarly.map(({ part }) => part)).toEqual(['files', 'uploads'])
  })

  it('is one upload alone where the others can be aborted, and is told of with its reason', async () => {
    const aborted: string[] = []
    const uploads = uploadsOf({
      async abortUpload(key) {
        if (key === 'blobs/bad') throw refused()
        aborted.push(key)
      },
    })
    const failures = [{ upload: 'blobs/bad', reason: 'S3 is away: Access Denied' }]
    expect(await sweepAfter(0, { uploads })).toMatchObject({ uploads: 1, failures, endedEarly: [] })
    expect(aborted).toEqual(['blobs/good'])
  })

  it('is given up where all uploads fail, so that it does not last for hours', async () => {
    const many = Array.from({ length: 1_000 }, (_, n) => `blobs/${n}`)
    let asked = 0
    const abortUpload = async () => {
      asked += 1
      throw refused()
    }
    await sweepAfter(0, { uploads: uploadsOf({ abortUpload }, many) })
    expect(asked).toBe(20)
  })
})

describe('sweeps', () => {
  it('come again and again, also after one that failed, until they are to stop', async () => {
    const told: string[] = []
    const ending = new AbortController()
    let isAway = true
    const failing: Sweepable['documents'] = {
      get: documents.get,
      async *list(prefix) {
        if (isAway) throw new Error('S3 is away')
        yield* documents.list(prefix)
      },
    }
    await store('unlinked')
    const stores = { blobs, documents: failing, marks, leftovers: blobs.orphans, uploads: undefined }
    const clocks = { now: () => time, monotonicNow: () => performance.now() }
    const observer = {
      swept: ({ marked, endedEarly }: SweepReport) =>
        void told.push((endedEarly[0]?.error as Error | undefined)?.message ?? `marked ${marked}`),
    }
    const parts = { stores, maySweepShared: () => true, ...clocks }
    const ran = runSweeps(parts, observer, ending.signal, { firstMs: 1, eachMs: 1 })
    await expect.poll(() => told.length).toBeGreaterThan(0)
    isAway = false
    await expect.poll(() => told.includes('marked 1')).toBe(true)
    ending.abort()
    await ran
    const count = told.length
    await sleep(100)
    expect(told).toHaveLength(count)
    expect(told[0]).toBe('S3 is away')
  })
})
