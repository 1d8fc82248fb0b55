import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createDiskBudget } from '../../../proxy/store/disk-budget.ts'
import { maxDocumentBytes } from '../../../proxy/store/document-store.ts'
import { createFileDocumentStore } from '../../../proxy/store/file-document-store.ts'
import { collect } from '../../contracts/collect.ts'
import { temporaryFolder } from './temporary-folder.ts'

describe('a store of documents in files', () => {
  it('keeps a document under its key, readable to the eye', async () => {
    const root = await temporaryFolder()
    const store = await createFileDocumentStore({ root })
    await store.put('upstreams/1/library/alpine/_tags/latest', '{"a":1}')
    expect(await readFile(join(root, 'upstreams/1/library/alpine/_tags/latest'), 'utf8')).toBe('{"a":1}')
    expect(await readdir(join(root, '.tmp'))).toEqual([])
  })

  it('tells capitals apart where the file system does not', async () => {
    const root = await temporaryFolder()
    const store = await createFileDocumentStore({ root })
    for (const key of ['Ab', 'aB', 'ab']) await store.put(key, JSON.stringify(key))
    const names = (await readdir(root)).filter((name) => name !== '.tmp').sort()
    expect(names).toEqual(['ab', 'ab=1', 'ab=2'])
  })

  it('starts without what was never finished', async () => {
    const root = await temporaryFolder()
    const before = await createFileDocumentStore({ root })
    await before.put('a', '1')
    await writeFile(join(root, '.tmp', 'half'), '{"a"')
    const looking = await createFileDocumentStore({ root, owner: false })
    expect(await collect(looking.leftovers())).toHaveLength(1)
    const after = await createFileDocumentStore({ root })
    expect(await collect(after.leftovers())).toEqual([])
    expect(await collect(after.list(''))).toEqual(['a'])
  })

  it('lists no file that no key leads to', async () => {
    const root = await temporaryFolder()
    const store = await createFileDocumentStore({ root })
    await store.put('Tag', '1')
    for (const name of ['.hidden', 'CAPITALS', 'x=y', 'x=1=2', 'tag=8', 'a b'])
      await writeFile(join(root, name), 'x')
    expect(await collect(store.list(''))).toEqual(['Tag'])
  })

  it('may be written to while it is listed', async () => {
    const store = await createFileDocumentStore({ root: await temporaryFolder() })
    for (let n = 0; n < 30; n += 1) await store.put(`a/${n % 3}/k${n}`, '1')
    const seen: string[] = []
    for await (const key of store.list('a/')) {
      seen.push(key)
      await store.delete(key)
    }
    expect(new Set(seen).size).toBe(30)
    expect(await collect(store.list(''))).toEqual([])
  })

  it('refuses what is larger than any manifest could make it', async () => {
    const store = await createFileDocumentStore({ root: await temporaryFolder() })
    await expect(store.put('a', 'x'.repeat(maxDocumentBytes + 1))).rejects.toThrow('too large')
    expect(await store.get('a')).toBeUndefined()
  })

  it('makes many folders at once, for many writers', async () => {
    const store = await createFileDocumentStore({ root: await temporaryFolder() })
    const keys = Array.from({ length: 60 }, (_, n) => `a/b/c${n % 3}/d/e${n % 5}/k${n}`)
    await Promise.all(keys.map((key) => store.put(key, key)))
    expect((await collect(store.list(''))).sort()).toEqual([...keys].sort())
  })
})

describe('a store of documents under a limit', () => {
  it('counts each document once, and not after it is deleted', async () => {
    const root = await temporaryFolder()
    const budget = createDiskBudget({ maxBytes: 1_000_000 })
    const store = await createFileDocumentStore({ root, budget })
    await store.put('a/b', '1')
    const used = budget.used()
    await store.put('a/b', '2')
    await store.put('a/b', '3', { ifAbsent: true })
    expect(budget.used()).toBe(used)

    await store.put('a/c', 'x'.repeat(10_000))
    const budgetAfterRestart = createDiskBudget({ maxBytes: 1_000_000 })
    await createFileDocumentStore({ root, budget: budgetAfterRestart })
    expect(budgetAfterRestart.used()).toBeGreaterThanOrEqual(budget.used())
    expect(budgetAfterRestart.used()).toBeLessThan(budget.used() + 10_000)

    await store.delete('a/c')
    expect(budget.used()).toBe(used)
  })

  it('says that there is no room, and leaves what was there', async () => {
    const root = await temporaryFolder()
    const store = await createFileDocumentStore({ root, budget: createDiskBudget({ maxBytes: 40_000 }) })
    await store.put('a', '1')
    await expect(store.put('a', 'x'.repeat(50_000))).rejects.toMatchObject({ name: 'NoRoomError' })
    expect((await store.get('a'))?.body).toBe('1')
    expect((await stat(join(root, 'a'))).size).toBe(1)
    expect(await collect(store.leftovers())).toEqual([])
  })
})
