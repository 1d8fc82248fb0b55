import { isDigest } from '../oci/digest.ts'
import {
  formatLinkDocument,
  formatTagDocument,
  parseLinkDocument,
  parseMention,
  parseTagDocument,
} from './documents.ts'
import type { IndexStore, LinkEntry, LinkKey, Listed, Mention, TagEntry, TagKey, Use } from './index-store.ts'
import { type RedisConnection, RedisReplyError } from './redis-connection.ts'
import {
  linkKeyOf,
  linkMember,
  linksOf,
  mentionsOf,
  type Place,
  possessionOf,
  repositoriesOf,
  tagKeyOf,
  tagsOf,
  upstreamsKey,
  usedKeyOf,
} from './redis-keys.ts'
import {
  deleteLinkScript,
  deleteTagScript,
  enlistScript,
  mentionScript,
  putFieldScript,
  putLinkScript,
  putTagScript,
  touchTagScript,
  unmentionScript,
  useScript,
} from './redis-scripts.ts'

const version = '1'

/** Members read at a time by the lists, uses and mentions written at a time: nobody waits long for any of them. */
const pageSize = 500

/** The index in Redis. What does not parse, or has another shape or version, is absent and is written anew. */
export function createRedisIndexStore({ redis }: { redis: Pick<RedisConnection, 'send'> }): IndexStore {
  const run = (script: string, keys: readonly string[], ...args: readonly (string | number)[]) =>
    redis.send('EVAL', script, keys.length, ...keys, ...args)

  /** A key of another type is none of ours. */
  async function read(command: string, ...args: readonly (string | number)[]): Promise<unknown[]> {
    try {
      const reply = await redis.send(command, ...args)
      return Array.isArray(reply) ? reply : []
    } catch (error) {
      if (error instanceof RedisReplyError && error.code === 'WRONGTYPE') return []
      throw error
    }
  }

  const readTag = (key: TagKey) => read('HMGET', tagKeyOf(key), 'v', 'e', 'c', 'u', 'n')
  const readLink = (key: LinkKey) => read('HMGET', linkKeyOf(key), 'v', 'e', 'o', 'u', 'n')

  /** Lists lead to entries by upstream, then repository. They are told whenever an entry is: a flush may have come between. */
  function enlist({ upstreamId, repository }: Place): Promise<unknown>[] {
    return [
      run(enlistScript, [upstreamsKey], upstreamId),
      run(enlistScript, [repositoriesOf(upstreamId)], repository),
    ]
  }

  /** Members in the order of their bytes, page by page: what is changed meanwhile moves no other. */
  async function* members(key: string): AsyncGenerator<string[]> {
    for (let from = '-'; ; ) {
      const page = texts(await read('ZRANGEBYLEX', key, from, '+', 'LIMIT', 0, pageSize))
      if (page.length > 0) yield page
      if (page.length < pageSize) return
      from = `(${page.at(-1)}`
    }
  }

  async function* places(upstreamId: string): AsyncGenerator<Place> {
    for await (const repositories of members(repositoriesOf(upstreamId))) {
      for (const repository of repositories) yield { upstreamId, repository }
    }
  }

  async function hasEntry(upstreamId: string): Promise<boolean> {
    for await (const place of places(upstreamId)) {
      const [tags, links] = await Promise.all([
        redis.send('EXISTS', tagsOf(place)),
        redis.send('EXISTS', linksOf(place)),
      ])
      if (tags || links) return true
    }
    return false
  }

  return {
    async getTag(key) {
      return tagEntry(await readTag(key))
    },

    async putTag(key, entry) {
      const { digest, writtenAt, checkedAt } = entry
      const args = [version, formatTagDocument(entry), digest, writtenAt, checkedAt, key.tag]
      await Promise.all([...enlist(key), run(putTagScript, [tagKeyOf(key), tagsOf(key)], ...args)])
    },

    async touchTag(key, digest, checkedAt) {
      await run(touchTagScript, [tagKeyOf(key)], digest, checkedAt)
    },

    async deleteTag(key) {
      await run(deleteTagScript, [tagKeyOf(key), tagsOf(key)], key.tag)
    },

    async getLink(key) {
      return linkEntry(await readLink(key))
    },

    /** The mentions come first: without the entry it is put again, with it nobody would. */
    async putLink(key, entry) {
      const { origin, size } = entry
      const children = key.kind === 'manifest' ? entry.children : []
      const mentions = pagesOf(children).map((page) =>
        page.flatMap((child) => [child.digest, JSON.stringify(child)]),
      )
      const last = mentions.pop() ?? []
      for (const said of mentions) {
        await run(mentionScript, [linkKeyOf(key)], key.digest, mentionsOf(key), ...said)
      }
      const args = [version, formatLinkDocument(entry), origin, linkMember(key), key.digest, mentionsOf(key)]
      const [replaced] = await Promise.all([
        run(putLinkScript, [linkKeyOf(key), linksOf(key)], ...args, ...last),
        run(putFieldScript, [possessionOf(origin, key.digest)], linkKeyOf(key), size),
        ...enlist(key),
      ])
      await forget(key, replaced, { origin, children })
    },

    async deleteLink(key) {
      const deleted = await run(deleteLinkScript, [linkKeyOf(key), linksOf(key)], linkMember(key))
      await forget(key, deleted)
    },

    async getPossession(origin, digest) {
      const [, size] = texts(await read('HRANDFIELD', possessionOf(origin, digest), 1, 'WITHVALUES'))
      return size !== undefined && /^\d{1,15}$/.test(size) ? Number(size) : undefined
    },

    async getMention(upstreamId, repository, digest) {
      const key = `${mentionsOf({ upstreamId, repository })}${digest}`
      const [, mention] = texts(await read('HRANDFIELD', key, 1, 'WITHVALUES'))
      const parsed = mention === undefined ? undefined : parseMention(mention)
      return parsed?.digest === digest ? parsed : undefined
    },

    async recordUses(uses) {
      for (let at = 0; at < uses.length; at += pageSize) {
        await Promise.all(uses.slice(at, at + pageSize).map(record))
      }
    },

    async *listTags(upstreamId) {
      for await (const place of places(upstreamId)) {
        for await (const page of members(tagsOf(place))) {
          const keys = page.map((tag): TagKey => ({ ...place, tag }))
          const found = await Promise.all(keys.map(readTag))
          for (const [at, key] of keys.entries()) {
            const entry = tagEntry(found[at]!)
            if (entry) yield listed(key, entry, found[at]!)
          }
        }
      }
    },

    async *listLinks(upstreamId) {
      for await (const place of places(upstreamId)) {
        for await (const page of members(linksOf(place))) {
          const keys = page.flatMap((member) => parseLinkMember(place, member) ?? [])
          const found = await Promise.all(keys.map(readLink))
          for (const [at, key] of keys.entries()) {
            const entry = linkEntry(found[at]!)
            if (entry) yield listed(key, entry, found[at]!)
          }
        }
      }
    },

    async *listUpstreams() {
      for await (const page of members(upstreamsKey)) {
        for (const upstreamId of page) {
          if (await hasEntry(upstreamId)) yield upstreamId
        }
      }
    },

    async close() {},
  }

  /** What went with an entry, given as its origin and its text, but for what there is still. */
  async function forget(key: LinkKey, gone: unknown, still?: Pick<LinkEntry, 'origin' | 'children'>) {
    const [origin = '', text = ''] = Array.isArray(gone) ? texts(gone) : []
    if (origin !== '' && origin !== still?.origin) {
      await redis.send('HDEL', possessionOf(origin, key.digest), linkKeyOf(key))
    }
    const entry = text !== '' && key.kind === 'manifest' ? parseLinkDocument(text) : undefined
    const kept = new Set(still?.children.map(({ digest }) => digest))
    const children = entry?.children.filter(({ digest }) => !kept.has(digest)) ?? []
    for (const page of pagesOf(children)) {
      const digests = page.map(({ digest }) => digest)
      await run(unmentionScript, [linkKeyOf(key)], key.digest, mentionsOf(key), ...digests)
    }
  }

  async function record(use: Use): Promise<void> {
    await run(useScript, [usedKeyOf(use)], use.usedAt, use.downloads)
  }
}

function tagEntry([v, e, c]: readonly unknown[]): TagEntry | undefined {
  const entry = v === version && typeof e === 'string' ? parseTagDocument(e) : undefined
  const checkedAt = numberOf(c)
  return entry && checkedAt !== undefined ? { ...entry, checkedAt } : undefined
}

function linkEntry([v, e]: readonly unknown[]): LinkEntry | undefined {
  return v === version && typeof e === 'string' ? parseLinkDocument(e) : undefined
}

function listed<Key, Entry>(key: Key, entry: Entry, found: readonly unknown[]): Listed<Key, Entry> {
  const [, , , used, downloads] = found
  return { key, entry, usedAt: numberOf(used), downloads: numberOf(downloads) ?? 0 }
}

function parseLinkMember(place: Place, member: string): LinkKey | undefined {
  const [kind, ...rest] = member.split(':')
  const digest = rest.join(':')
  return (kind === 'manifest' || kind === 'blob') && isDigest(digest) ? { ...place, kind, digest } : undefined
}

function numberOf(value: unknown): number | undefined {
  const number = typeof value === 'string' && value !== '' ? Number(value) : Number.NaN
  return Number.isFinite(number) ? number : undefined
}

function pagesOf(children: readonly Mention[]): (readonly Mention[])[] {
  const count = Math.ceil(children.length / pageSize)
  return Array.from({ length: count }, (_, page) => children.slice(page * pageSize, (page + 1) * pageSize))
}

function texts(reply: readonly unknown[]): string[] {
  return reply.filter((item) => typeof item === 'string')
}
