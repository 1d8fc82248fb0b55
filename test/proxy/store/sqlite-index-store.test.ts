import { existsSync } from 'node:fs'
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { createDiskBudget } from '../../../proxy/store/disk-budget.ts'
import type { LinkEntry, LinkKey } from '../../../proxy/store/index-store.ts'
import { createSqliteIndexStore } from '../../../proxy/store/sqlite-index-store.ts'
import { temporaryFolder } from './temporary-folder.ts'

const digest = digestOf(Buffer.from('x'))
const key = { upstreamId: 'a'.repeat(64), repository: 'r', tag: 't' }
const entry = { digest, mediaType: 'x/y', size: 1, writtenAt: 1, checkedAt: 1, walks: [] }

describe('the index in a file of SQLite', () => {
  it('is there again after a restart', async () => {
    const file = join(await temporaryFolder(), 'deep', 'index.sqlite')
    const before = createSqliteIndexStore({ file })
    expect(before.complete).toBe(false)
    await before.putTag(key, entry)
    before.markComplete()
    await before.close()
    const after = open(file)
    expect(after.complete).toBe(true)
    expect(after.setAside).toBeUndefined()
    expect(await after.getTag(key)).toEqual(entry)
  })

  it('has what was written by a process that did not close it', async () => {
    const folder = await temporaryFolder()
    const before = open(join(folder, 'index.sqlite'))
    await before.putTag(key, entry)
    for (const suffix of ['', '-wal'])
      await cp(join(folder, `index.sqlite${suffix}`), join(folder, `copy${suffix}`))
    const after = open(join(folder, 'copy'))
    expect(after.setAside).toBeUndefined()
    expect(await after.getTag(key)).toEqual(entry)
  })

  it.each([
    ['is no database', (file: string) => writeFile(file, 'not a database at all'.repeat(1000))],
    ['is of a later version', async (file: string) => version(file, 99)],
    ['belongs to something else', async (file: string) => version(file, 0)],
  ])('starts empty where the file %s, and sets that aside', async (_, spoil) => {
    const file = join(await temporaryFolder(), 'index.sqlite')
    await spoil(file)
    const bytes = await readFile(file)
    const index = open(file)
    expect(index.complete).toBe(false)
    expect(await index.getTag(key)).toBeUndefined()
    await index.putTag(key, entry)
    expect(index.setAside).toBe(`${file}.set-aside`)
    expect((await readFile(`${file}.set-aside`)).equals(bytes)).toBe(true)
    await index.close()
    expect(await open(file).getTag(key)).toEqual(entry)
  })

  it('starts empty where pages are damaged and the last process died', async () => {
    const folder = await temporaryFolder()
    const file = join(folder, 'index.sqlite')
    const before = createSqliteIndexStore({ file })
    for (let n = 0; n < 2000; n += 1) await before.putTag({ ...key, tag: `t${n}` }, entry)
    await before.close()
    const bytes = await readFile(file)
    bytes.fill(0x5a, 8192, bytes.length - 4096)
    await writeFile(file, bytes)
    await writeFile(`${file}-wal`, '')
    const index = open(file)
    expect(index.setAside).toBeDefined()
    expect(index.complete).toBe(false)
  })

  it('does not take a file it may not read for a damaged one', async () => {
    const folder = await temporaryFolder()
    expect(() => createSqliteIndexStore({ file: folder })).toThrow()
    expect(existsSync(`${folder}.set-aside`)).toBe(false)
  })

  it('can be looked at while another writes, and cannot be written to then', async () => {
    const file = join(await temporaryFolder(), 'index.sqlite')
    const writer = open(file)
    const reader = createSqliteIndexStore({ file, readOnly: true })
    onTestFinished(() => reader.close())
    await writer.putTag(key, entry)
    expect(await reader.getTag(key)).toEqual(entry)
    await expect(reader.putTag(key, entry)).rejects.toThrow()
  })

  it('takes room before it grows into it', async () => {
    const budget = createDiskBudget({ maxBytes: 100_000_000 })
    const folder = await temporaryFolder()
    const index = createSqliteIndexStore({ file: join(folder, 'index.sqlite'), budget })
    onTestFinished(() => index.close())
    const first = budget.used()
    const link: LinkKey = { upstreamId: key.upstreamId, repository: 'r', kind: 'manifest', digest }
    const children = Array.from({ length: 10_000 }, (_, n) => {
      return { digest: digestOf(Buffer.from(`${n}`)), kind: 'blob' as const, mediaType: 'x', size: 1 }
    })
    const entry: LinkEntry = { mediaType: 'x', size: 1, origin: 'o', children }
    await index.putLink(link, entry)
    const bytes = await sizeOf(join(folder, 'index.sqlite'))
    expect(budget.used()).toBeGreaterThan(first)
    expect(budget.used()).toBeGreaterThan(bytes)
  })

  it('leaves no half of a change behind', async () => {
    const index = open(join(await temporaryFolder(), 'index.sqlite'))
    const link: LinkKey = { upstreamId: key.upstreamId, repository: 'r', kind: 'manifest', digest }
    const good = { digest: digestOf(Buffer.from('child')), kind: 'blob' as const, mediaType: 'x', size: 1 }
    const bad = { ...good, digest: digestOf(Buffer.from('bad')), size: 'many' as unknown as number }
    await expect(
      index.putLink(link, { mediaType: 'x', size: 1, origin: 'o', children: [good, bad] }),
    ).rejects.toThrow()
    expect(await index.getLink(link)).toBeUndefined()
    expect(await index.getMention(key.upstreamId, 'r', good.digest)).toBeUndefined()
    await index.putLink(link, { mediaType: 'x', size: 1, origin: 'o', children: [good] })
    expect(await index.getMention(key.upstreamId, 'r', good.digest)).toEqual(good)
  })
})

function open(file: string) {
  const index = createSqliteIndexStore({ file })
  onTestFinished(() => index.close())
  return index
}

function version(file: string, number: number): void {
  const database = new DatabaseSync(file)
  database.exec(`CREATE TABLE other (x); PRAGMA user_version = ${number}`)
  database.close()
}

async function sizeOf(file: string): Promise<number> {
  return (await readFile(file)).length + (await readFile(`${file}-wal`)).length
}
