import { describe, expect, it } from 'vitest'
import type { DocumentStore } from '../../proxy/store/document-store.ts'
import { linkDocumentKey, tagDocumentKey } from '../../proxy/store/keys.ts'
import { collect } from './collect.ts'

/** The behaviour every DocumentStore owes its callers. `create` gives an empty store each time. */
export function describeDocumentStore(name: string, create: () => Promise<DocumentStore>): void {
  describe(`${name} as a DocumentStore`, () => {
    it('gives back what was put, to the letter', async () => {
      const store = await create()
      for (const body of ['{"a":1}', '', '"ü 漢 \u0000 🚢"', JSON.stringify('x'.repeat(1_000_000))]) {
        expect(await store.put('a/b', body)).toBe(true)
        expect((await store.get('a/b'))?.body).toBe(body)
      }
    })

    it('has nothing where nothing was put', async () => {
      const store = await create()
      await store.put('a/b/c', '1')
      expect(await store.get('a')).toBeUndefined()
      expect(await store.get('a/b')).toBeUndefined()
      expect(await store.get('a/b/cc')).toBeUndefined()
      expect(await store.get('a/b/c/d')).toBeUndefined()
    })

    it('changes the etag with the body', async () => {
      const store = await create()
      await store.put('a', '1')
      const first = await store.get('a')
      expect(await store.get('a')).toEqual(first)
      await store.put('a', '2')
      expect((await store.get('a'))?.etag).not.toBe(first?.etag)
    })

    it('puts where nothing is only once', async () => {
      const store = await create()
      expect(await store.put('a', '1', { ifAbsent: true })).toBe(true)
      expect(await store.put('a', '2', { ifAbsent: true })).toBe(false)
      expect((await store.get('a'))?.body).toBe('1')
    })

    it('puts over what was read only while it is still there', async () => {
      const store = await create()
      await store.put('a', '1')
      const { etag } = (await store.get('a'))!
      expect(await store.put('a', '2', { ifMatch: etag })).toBe(true)
      expect(await store.put('a', '3', { ifMatch: etag })).toBe(false)
      expect(await store.put('b', '3', { ifMatch: etag })).toBe(false)
      expect((await store.get('a'))?.body).toBe('2')
      expect(await store.get('b')).toBeUndefined()
    })

    it('lets one of many win under the same precondition', async () => {
      const store = await create()
      const puts = await Promise.all(
        Array.from({ length: 20 }, (_, n) => store.put('new/key', String(n), { ifAbsent: true })),
      )
      expect(puts.filter(Boolean)).toHaveLength(1)
      expect((await store.get('new/key'))?.body).toBe(String(puts.indexOf(true)))

      const { etag } = (await store.get('new/key'))!
      const again = await Promise.all(
        Array.from({ length: 20 }, (_, n) => store.put('new/key', `again ${n}`, { ifMatch: etag })),
      )
      expect(again.filter(Boolean)).toHaveLength(1)
    })

    it('never shows half a document', async () => {
      const store = await create()
      const bodies = ['a', 'b'].map((letter) => JSON.stringify(letter.repeat(200_000)))
      await store.put('k', bodies[0]!)
      let writing = true
      const writes = (async () => {
        for (let n = 0; n < 20; n += 1) await store.put('k', bodies[n % 2]!)
        writing = false
      })()
      while (writing) expect(bodies.includes((await store.get('k'))!.body)).toBe(true)
      await writes
    })

    it('forgets what was deleted, and deletes what is not there with success', async () => {
      const store = await create()
      await store.put('a/b', '1')
      await store.put('a/c', '2')
      await store.delete('a/b')
      await store.delete('a/b')
      await store.delete('never/was')
      expect(await store.get('a/b')).toBeUndefined()
      expect(await keysUnder(store, '')).toEqual(['a/c'])
      expect(await store.put('a/b', '3', { ifAbsent: true })).toBe(true)
    })

    it('lists the keys that begin with a prefix', async () => {
      const store = await create()
      const keys = ['u/1/a/_tags/x', 'u/1/a/_tags/y', 'u/1/ab/_tags/x', 'u/10/a/_tags/x', 'v/1']
      for (const key of keys) await store.put(key, '{}')
      expect(await keysUnder(store, '')).toEqual(keys)
      expect(await keysUnder(store, 'u/1/')).toEqual(keys.slice(0, 3))
      expect(await keysUnder(store, 'u/1/a/')).toEqual(keys.slice(0, 2))
      expect(await keysUnder(store, 'nothing/')).toEqual([])
    })

    it('lists more than fit into one page', async () => {
      const store = await create()
      const keys = Array.from({ length: 1100 }, (_, n) => `many/${n % 7}/k${n}`).sort()
      for (let at = 0; at < keys.length; at += 50) {
        await Promise.all(keys.slice(at, at + 50).map((key) => store.put(key, '{}')))
      }
      expect(await keysUnder(store, 'many/')).toEqual(keys)
    }, 60_000)

    it('keeps the tag bar of the repository foo beside the repository foo/bar', async () => {
      const store = await create()
      const upstreamId = 'a'.repeat(64)
      const digest = `sha256:${'0'.repeat(64)}` as const
      const keys = ['foo', 'foo/bar', 'foo/bar/tags', 'foo/tags/bar'].flatMap((repository) => [
        tagDocumentKey({ upstreamId, repository, tag: 'bar' }),
        tagDocumentKey({ upstreamId, repository, tag: `referrers/sha256/${'0'.repeat(64)}` }),
        linkDocumentKey({ upstreamId, repository, kind: 'manifest', digest }),
        linkDocumentKey({ upstreamId, repository, kind: 'blob', digest }),
      ])
      await Promise.all(keys.map((key) => store.put(key, JSON.stringify(key))))
      for (const key of keys) expect((await store.get(key))?.body).toBe(JSON.stringify(key))
      expect(await keysUnder(store, `upstreams/${upstreamId}/foo/bar/`)).toEqual(
        keys.filter((key) => key.includes('/foo/bar/')).sort(),
      )
      await store.delete(tagDocumentKey({ upstreamId, repository: 'foo', tag: 'bar' }))
      expect(await keysUnder(store, '')).toEqual(keys.slice(1).sort())
    })

    it('tells tags apart that differ in case alone, and takes the longest there are', async () => {
      const store = await create()
      const tags = [
        'latest',
        'Latest',
        'LATEST',
        'lATEST',
        'v1.0_RC-1',
        'v1.0_rc-1',
        'Z'.repeat(128),
        'z'.repeat(128),
      ]
      const keys = tags.map((tag) => `${'r'.repeat(255)}/_tags/${tag}`)
      for (const key of keys) await store.put(key, JSON.stringify(key))
      for (const key of keys) expect((await store.get(key))?.body).toBe(JSON.stringify(key))
      expect(await keysUnder(store, '')).toEqual([...keys].sort())
    })

    it.each([
      '',
      '/',
      '/a',
      'a/',
      'a//b',
      '.',
      '..',
      '../a',
      'a/../b',
      'a/./b',
      'a/.hidden',
      'a\\b',
      'a b',
      'a\0b',
      'a%2fb',
      'ä',
      'x'.repeat(256),
    ])('refuses the key %j', async (key) => {
      const store = await create()
      await expect(async () => store.put(key, '{}')).rejects.toThrow('key')
      await expect(async () => store.get(key)).rejects.toThrow('key')
      await expect(async () => store.delete(key)).rejects.toThrow('key')
      expect(await keysUnder(store, '')).toEqual([])
    })
  })
}

async function keysUnder(store: DocumentStore, prefix: string): Promise<string[]> {
  return (await collect(store.list(prefix))).sort()
}
