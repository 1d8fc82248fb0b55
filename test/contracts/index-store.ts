import { describe, expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import type {
  IndexStore,
  LinkEntry,
  LinkKey,
  Mention,
  TagEntry,
  TagKey,
} from '../../proxy/store/index-store.ts'
import { collect } from './collect.ts'

/** The behaviour every IndexStore owes its callers. `create` gives an empty store each time. */
export function describeIndexStore(name: string, create: () => Promise<IndexStore>): void {
  async function start(): Promise<IndexStore> {
    const index = await create()
    onTestFinished(() => index.close())
    return index
  }

  describe(`${name} as an IndexStore`, () => {
    describe('a tag', () => {
      it('is given back as it was put', async () => {
        const index = await start()
        const walks = [
          { registry: 'default/hub', ns: '' },
          { registry: 'team/x', ns: 'docker.io' },
        ]
        await index.putTag(tag(), tagEntry({ walks }))
        expect(await index.getTag(tag())).toEqual(tagEntry({ walks }))
      })

      it('is one of its upstream, its repository and its name', async () => {
        const index = await start()
        await index.putTag(tag(), tagEntry())
        expect(await index.getTag(tag({ upstreamId: upstreamB }))).toBeUndefined()
        expect(await index.getTag(tag({ repository: 'library' }))).toBeUndefined()
        expect(await index.getTag(tag({ repository: 'library/alpine/latest' }))).toBeUndefined()
        expect(await index.getTag(tag({ tag: 'Latest' }))).toBeUndefined()
        expect(await index.getTag(tag({ repository: 'library/alpine:latest', tag: '' }))).toBeUndefined()
      })

      it('keeps what was written later, in whatever order it comes', async () => {
        const index = await start()
        await index.putTag(tag(), tagEntry({ digest: digestB, writtenAt: 2000 }))
        await index.putTag(tag(), tagEntry({ digest: digestA, writtenAt: 1000, checkedAt: 9000 }))
        expect((await index.getTag(tag()))?.digest).toBe(digestB)
        await index.putTag(tag(), tagEntry({ digest: digestA, writtenAt: 3000 }))
        expect((await index.getTag(tag()))?.digest).toBe(digestA)
      })

      it('keeps what was checked later of two written at once', async () => {
        const index = await start()
        await index.putTag(tag(), tagEntry({ checkedAt: 5000 }))
        await index.putTag(tag(), tagEntry({ checkedAt: 0 }))
        expect((await index.getTag(tag()))?.checkedAt).toBe(5000)
        const walks = [{ registry: 'default/hub', ns: '' }]
        await index.putTag(tag(), tagEntry({ checkedAt: 5000, walks }))
        expect((await index.getTag(tag()))?.walks).toEqual(walks)
      })

      it('is touched only while it is the digest that was checked', async () => {
        const index = await start()
        await index.putTag(tag(), tagEntry({ digest: digestA, checkedAt: 1000 }))
        await index.touchTag(tag(), digestA, 4000)
        expect(await index.getTag(tag())).toEqual(tagEntry({ digest: digestA, checkedAt: 4000 }))
        await index.touchTag(tag(), digestB, 9000)
        expect((await index.getTag(tag()))?.checkedAt).toBe(4000)
        await index.touchTag(tag({ tag: 'other' }), digestA, 9000)
        expect(await index.getTag(tag({ tag: 'other' }))).toBeUndefined()
      })

      it('is gone once deleted, and then takes an older write', async () => {
        const index = await start()
        await index.putTag(tag(), tagEntry({ writtenAt: 2000 }))
        await index.deleteTag(tag())
        await index.deleteTag(tag())
        expect(await index.getTag(tag())).toBeUndefined()
        await index.putTag(tag(), tagEntry({ writtenAt: 1000 }))
        expect((await index.getTag(tag()))?.writtenAt).toBe(1000)
      })

      it('may stand for the referrers of a subject', async () => {
        const index = await start()
        const key = tag({ tag: `referrers/sha256/${'0'.repeat(64)}` })
        await index.putTag(key, tagEntry())
        expect(await index.getTag(key)).toEqual(tagEntry())
      })
    })

    describe('a link', () => {
      it('is given back as it was put', async () => {
        const index = await start()
        await index.putLink(link(), linkEntry({ children: [layer, config], subject: digestB }))
        expect(await index.getLink(link())).toEqual(
          linkEntry({ children: [layer, config], subject: digestB }),
        )
      })

      it('is one of its upstream, its repository, its kind and its digest', async () => {
        const index = await start()
        await index.putLink(link(), linkEntry())
        expect(await index.getLink(link({ upstreamId: upstreamB }))).toBeUndefined()
        expect(await index.getLink(link({ repository: 'library/other' }))).toBeUndefined()
        expect(await index.getLink(link({ kind: 'blob' }))).toBeUndefined()
        expect(await index.getLink(link({ digest: digestB }))).toBeUndefined()
      })

      it('is what was put last', async () => {
        const index = await start()
        await index.putLink(link(), linkEntry({ mediaType: 'a/b', children: [layer] }))
        await index.putLink(link(), linkEntry({ mediaType: 'c/d', children: [config] }))
        expect(await index.getLink(link())).toEqual(linkEntry({ mediaType: 'c/d', children: [config] }))
        expect(await index.getMention(upstreamA, 'library/alpine', layer.digest)).toBeUndefined()
        expect(await index.getMention(upstreamA, 'library/alpine', config.digest)).toEqual(config)
      })

      it('is gone once deleted', async () => {
        const index = await start()
        await index.putLink(link(), linkEntry())
        await index.deleteLink(link({ kind: 'blob' }))
        expect(await index.getLink(link())).toBeDefined()
        await index.deleteLink(link())
        await index.deleteLink(link())
        expect(await index.getLink(link())).toBeUndefined()
      })
    })

    describe('possession', () => {
      it('is of an origin that a link says sent the bytes', async () => {
        const index = await start()
        expect(await index.getPossession('origin-1', digestA)).toBeUndefined()
        await index.putLink(link(), linkEntry({ origin: 'origin-1', size: 77 }))
        expect(await index.getPossession('origin-1', digestA)).toBe(77)
        expect(await index.getPossession('origin-2', digestA)).toBeUndefined()
        expect(await index.getPossession('origin-1', digestB)).toBeUndefined()
      })

      it('of 0 bytes is possession', async () => {
        const index = await start()
        await index.putLink(link({ kind: 'blob' }), linkEntry({ origin: 'origin-1', size: 0 }))
        expect(await index.getPossession('origin-1', digestA)).toBe(0)
      })

      it('outlives all links but the last', async () => {
        const index = await start()
        const other = link({ upstreamId: upstreamB, repository: 'other' })
        await index.putLink(link(), linkEntry({ origin: 'origin-1' }))
        await index.putLink(other, linkEntry({ origin: 'origin-1' }))
        await index.deleteLink(link())
        expect(await index.getPossession('origin-1', digestA)).toBe(100)
        await index.deleteLink(other)
        expect(await index.getPossession('origin-1', digestA)).toBeUndefined()
      })
    })

    describe('a mention', () => {
      it('is of the upstream and the repository whose manifest lists it', async () => {
        const index = await start()
        await index.putLink(link(), linkEntry({ children: [layer, config, layer] }))
        expect(await index.getMention(upstreamA, 'library/alpine', layer.digest)).toEqual(layer)
        expect(await index.getMention(upstreamB, 'library/alpine', layer.digest)).toBeUndefined()
        expect(await index.getMention(upstreamA, 'library/other', layer.digest)).toBeUndefined()
        expect(await index.getMention(upstreamA, 'library/alpine', digestA)).toBeUndefined()
      })

      it('lasts as long as a linked manifest makes it', async () => {
        const index = await start()
        const second = link({ digest: digestB })
        await index.putLink(link(), linkEntry({ children: [layer, config] }))
        await index.putLink(second, linkEntry({ children: [layer] }))
        await index.deleteLink(link())
        expect(await index.getMention(upstreamA, 'library/alpine', layer.digest)).toEqual(layer)
        expect(await index.getMention(upstreamA, 'library/alpine', config.digest)).toBeUndefined()
        await index.deleteLink(second)
        expect(await index.getMention(upstreamA, 'library/alpine', layer.digest)).toBeUndefined()
      })

      it('can be one of as many as a manifest of 4 MiB lists', async () => {
        const index = await start()
        const children = Array.from({ length: 43_000 }, (_, n) => ({
          ...layer,
          digest: digestOf(Buffer.from(`${n}`)),
        }))
        const mentioned = () =>
          Promise.all(
            [0, 499, 500, 42_999].map((n) =>
              index.getMention(upstreamA, 'library/alpine', children[n]!.digest),
            ),
          )
        const [first, second, third, last] = [0, 499, 500, 42_999].map((n) => children[n])
        await index.putLink(link(), linkEntry({ children }))
        expect(await mentioned()).toEqual([first, second, third, last])
        expect((await index.getLink(link()))?.children).toHaveLength(43_000)
        await index.putLink(link(), linkEntry({ children: children.slice(500) }))
        expect(await mentioned()).toEqual([undefined, undefined, third, last])
        await index.deleteLink(link())
        expect(await mentioned()).toEqual([undefined, undefined, undefined, undefined])
      })
    })

    describe('uses', () => {
      it('add up: the latest time, the sum of downloads', async () => {
        const index = await start()
        await index.putTag(tag(), tagEntry())
        await index.putLink(link(), linkEntry())
        expect(await useOf(index)).toEqual({ tag: [undefined, 0], link: [undefined, 0] })
        await index.recordUses([
          { tag: tag(), usedAt: 5000, downloads: 2 },
          { tag: tag(), usedAt: 3000, downloads: 1 },
          { link: link(), usedAt: 7000, downloads: 0 },
        ])
        await index.recordUses([{ link: link(), usedAt: 6000, downloads: 4 }])
        expect(await useOf(index)).toEqual({ tag: [5000, 3], link: [7000, 4] })
      })

      it('of what is unknown are ignored', async () => {
        const index = await start()
        await index.putTag(tag(), tagEntry())
        await index.recordUses([])
        await index.recordUses([
          { tag: tag({ tag: 'unknown' }), usedAt: 1, downloads: 1 },
          { link: link(), usedAt: 1, downloads: 1 },
          { tag: tag(), usedAt: 2, downloads: 1 },
        ])
        expect(await index.getTag(tag({ tag: 'unknown' }))).toBeUndefined()
        expect(await index.getLink(link())).toBeUndefined()
        expect((await useOf(index)).tag).toEqual([2, 1])
      })

      it('stay when the entry is put again, and go with it', async () => {
        const index = await start()
        await index.putTag(tag(), tagEntry())
        await index.putLink(link(), linkEntry())
        await index.recordUses([
          { tag: tag(), usedAt: 5, downloads: 1 },
          { link: link(), usedAt: 6, downloads: 1 },
        ])
        await index.putTag(tag(), tagEntry({ writtenAt: 9000, digest: digestB }))
        await index.touchTag(tag(), digestB, 9500)
        await index.putLink(link(), linkEntry({ mediaType: 'c/d' }))
        expect(await useOf(index)).toEqual({ tag: [5, 1], link: [6, 1] })
        await index.deleteTag(tag())
        await index.putTag(tag(), tagEntry())
        expect((await useOf(index)).tag).toEqual([undefined, 0])
      })
    })

    describe('lists', () => {
      it('give every entry of one upstream, more than a page of them', async () => {
        const index = await start()
        const tags = Array.from({ length: 1203 }, (_, n) => tag({ repository: `r/${n % 5}`, tag: `t${n}` }))
        const links = Array.from({ length: 1203 }, (_, n) =>
          link({
            kind: n % 2 ? 'blob' : 'manifest',
            repository: `r/${n % 3}`,
            digest: digestOf(Buffer.from(`${n}`)),
          }),
        )
        for (const key of tags) await index.putTag(key, tagEntry())
        for (const key of links) await index.putLink(key, linkEntry())
        await index.putTag(tag({ upstreamId: upstreamB }), tagEntry())
        await index.putLink(link({ upstreamId: upstreamB }), linkEntry())

        const listedTags = await collect(index.listTags(upstreamA))
        expect(names(listedTags.map(({ key }) => key))).toEqual(names(tags))
        expect(listedTags[0]?.entry).toEqual(tagEntry())
        const listedLinks = await collect(index.listLinks(upstreamA))
        expect(names(listedLinks.map(({ key }) => key))).toEqual(names(links))
        expect(listedLinks[0]?.entry).toEqual(linkEntry())
      })

      it('may be changed while they are read', async () => {
        const index = await start()
        const keys = Array.from({ length: 700 }, (_, n) => tag({ tag: `t${n}` }))
        for (const key of keys) await index.putTag(key, tagEntry())
        const seen: TagKey[] = []
        for await (const { key } of index.listTags(upstreamA)) {
          seen.push(key)
          await index.deleteTag(key)
        }
        expect(names(seen)).toEqual(names(keys))
        expect(await collect(index.listTags(upstreamA))).toEqual([])
      })

      it('name every upstream with an entry once', async () => {
        const index = await start()
        expect(await collect(index.listUpstreams())).toEqual([])
        await index.putTag(tag({ upstreamId: upstreamA }), tagEntry())
        await index.putLink(link({ upstreamId: upstreamA }), linkEntry())
        await index.putLink(link({ upstreamId: upstreamB }), linkEntry())
        expect((await collect(index.listUpstreams())).sort()).toEqual([upstreamA, upstreamB])
        await index.deleteLink(link({ upstreamId: upstreamB }))
        expect(await collect(index.listUpstreams())).toEqual([upstreamA])
      })
    })

    it('closes as often as it is told to', async () => {
      const index = await create()
      await index.close()
      await index.close()
    })
  })
}

const upstreamA = 'a'.repeat(64)
const upstreamB = 'b'.repeat(64)
const digestA = digestOf(Buffer.from('a'))
const digestB = digestOf(Buffer.from('b'))
const layer: Mention = { digest: digestOf(Buffer.from('layer')), kind: 'blob', mediaType: 'x/layer', size: 5 }
const config: Mention = {
  digest: digestOf(Buffer.from('config')),
  kind: 'blob',
  mediaType: 'x/config',
  size: 6,
}

function tag(part: Partial<TagKey> = {}): TagKey {
  return { upstreamId: upstreamA, repository: 'library/alpine', tag: 'latest', ...part }
}

function link(part: Partial<LinkKey> = {}): LinkKey {
  return { upstreamId: upstreamA, repository: 'library/alpine', kind: 'manifest', digest: digestA, ...part }
}

function tagEntry(part: Partial<TagEntry> = {}): TagEntry {
  return {
    digest: digestA,
    mediaType: 'x/manifest',
    size: 100,
    writtenAt: 1000,
    checkedAt: 1000,
    walks: [],
    ...part,
  }
}

function linkEntry(part: Partial<LinkEntry> = {}): LinkEntry {
  return { mediaType: 'x/manifest', size: 100, origin: 'origin-0', children: [], ...part }
}

async function useOf(index: IndexStore) {
  const [tag] = await collect(index.listTags(upstreamA))
  const [link] = await collect(index.listLinks(upstreamA))
  return { tag: [tag?.usedAt, tag?.downloads], link: [link?.usedAt, link?.downloads] }
}

function names(keys: readonly (TagKey | LinkKey)[]): string[] {
  return keys.map((key) => JSON.stringify(Object.entries(key).sort())).sort()
}
