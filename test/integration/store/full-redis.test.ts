import { beforeEach, expect, it } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import type { IndexStore, LinkEntry, LinkKey, TagEntry, TagKey } from '../../../proxy/store/index-store.ts'
import { createRedisIndexStore } from '../../../proxy/store/redis-index-store.ts'
import { createRedisLeases } from '../../../proxy/store/redis-leases.ts'
import { createRedisUseTotals } from '../../../proxy/store/redis-use-totals.ts'
import { collect } from '../../contracts/collect.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { useRedis } from '../../rig/use-redis.ts'

describeWithParts(['redis-server'], 'R9: an index in a Redis that is full', () => {
  const redis = useRedis()
  let index: IndexStore
  beforeEach(async () => {
    await setMemory('0')
    await redis.send('FLUSHALL')
    index = createRedisIndexStore({ redis })
    for (const upstreamId of upstreams) {
      await index.putTag({ ...tag, upstreamId }, tagEntry)
      await index.putLink({ ...link, upstreamId }, linkEntry)
    }
    await index.recordUses(uses)
    await setMemory('1')
  })

  it('loses nothing to a write that it refuses', async () => {
    const before = await everything()
    const raise = createRedisUseTotals({ redis }).raise
    const writes: readonly (() => Promise<void>)[] = [
      () => index.recordUses(uses),
      () => raise([{ tag, usedAt: 9_000, downloads: 9 }]),
      () => index.touchTag(tag, tagEntry.digest, 2_000),
      () => index.putTag(tag, { ...tagEntry, writtenAt: 2_000 }),
      () => index.putTag({ ...tag, upstreamId: 'c'.repeat(64) }, tagEntry),
      () => index.putLink(link, { ...linkEntry, children: [], origin: 'origin-1' }),
      () => index.putLink({ ...link, repository: 'other' }, linkEntry),
    ]
    for (const write of writes) await expect(write()).rejects.toMatchObject({ code: 'OOM' })
    expect(await everything()).toEqual(before)
  })

  it('does not keep a tag that has moved on, and keeps its uses', async () => {
    const moved = { ...tagEntry, digest: digestOf(Buffer.from('b')), writtenAt: 2_000 }
    await expect(index.putTag(tag, moved)).rejects.toMatchObject({ code: 'OOM' })
    expect(await index.getTag(tag)).toBeUndefined()
    await setMemory('0')
    await index.putTag(tag, moved)
    expect(await collect(index.listTags(tag.upstreamId))).toEqual([
      { key: tag, entry: moved, usedAt: 5_000, downloads: 3 },
    ])
  })

  it('still has one replica lead, whose lease lasts', async () => {
    const leases = createRedisLeases({ redis })
    const ours = { token: 'a', url: 'http://a', uploadId: undefined }
    expect(await leases.claim('fill', ours)).toMatchObject({ isOurs: true })
    expect(await leases.renew('fill', ours)).toBe('ours')
    const theirs = { ...ours, token: 'b' }
    expect(await leases.claim('fill', theirs)).toMatchObject({ isOurs: false, lease: ours })
  })

  async function setMemory(bytes: string): Promise<void> {
    await redis.send('CONFIG', 'SET', 'maxmemory', bytes)
  }

  async function everything() {
    const [upstreamId] = upstreams
    return {
      upstreams: (await collect(index.listUpstreams())).sort(),
      tags: await collect(index.listTags(upstreamId)),
      links: await collect(index.listLinks(upstreamId)),
      mention: await index.getMention(upstreamId, tag.repository, layer.digest),
      possession: await index.getPossession('origin-0', link.digest),
    }
  }
})

const upstreams = ['a'.repeat(64), 'b'.repeat(64)] as const
const layer = { digest: digestOf(Buffer.from('layer')), kind: 'blob', mediaType: 'x/layer', size: 5 } as const
const tag: TagKey = { upstreamId: upstreams[0], repository: 'library/alpine', tag: 'latest' }
const link: LinkKey = {
  upstreamId: upstreams[0],
  repository: tag.repository,
  kind: 'manifest',
  digest: digestOf(Buffer.from('a')),
}
const tagEntry: TagEntry = {
  ...{ digest: link.digest, mediaType: 'x/manifest', size: 100, writtenAt: 1000, checkedAt: 1000 },
  walks: [{ registry: 'default/hub', ns: '' }],
}
const linkEntry: LinkEntry = { mediaType: 'x/manifest', size: 100, origin: 'origin-0', children: [layer] }
const uses = [
  { tag, usedAt: 5_000, downloads: 3 },
  { link, usedAt: 6_000, downloads: 4 },
]
