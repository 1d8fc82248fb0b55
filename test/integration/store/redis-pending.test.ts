import { beforeEach, expect, it } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import type { PendingTag, TagKey } from '../../../proxy/store/index-store.ts'
import { createRedisPending } from '../../../proxy/store/redis-pending.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { useRedis } from '../../rig/use-redis.ts'

describeWithParts(['redis-server'], 'what is pending, in Redis', () => {
  const redis = useRedis()
  const pending = createRedisPending({ redis })
  beforeEach(async () => {
    await redis.send('FLUSHALL')
  })

  const keys = async () => (await redis.send('KEYS', '*')) as string[]

  it('is found by the digest, where it was put', async () => {
    const other = { ...v1, tag: 'v2' }
    await pending.put(v1, tag)
    await pending.put(other, { ...tag, askedAt: 1_500, checkedAt: 2_000, walks: [] })
    expect(await pending.on(v1, tag.digest)).toEqual([
      { key: v1, pending: tag },
      { key: other, pending: { ...tag, askedAt: 1_500, checkedAt: 2_000, walks: [] } },
    ])
    expect(await pending.on({ ...v1, repository: 'library' }, tag.digest)).toEqual([])
    expect(await pending.on({ ...v1, upstreamId: 'b'.repeat(64) }, tag.digest)).toEqual([])
    expect(await pending.on(v1, moved.digest)).toEqual([])
  })

  it('is what was put last for a tag', async () => {
    await pending.put(v1, tag)
    await pending.put(v1, moved)
    expect(await pending.on(v1, tag.digest)).toEqual([])
    expect(await pending.on(v1, moved.digest)).toEqual([{ key: v1, pending: moved }])
  })

  it('keeps the walks of registries that asked elsewhere', async () => {
    const [x, y, z] = ['x', 'y', 'z'].map((name) => ({ registry: `default/${name}`, ns: '' }))
    const times = { askedAt: 1_732_281_655_987, checkedAt: 1_732_281_656_123 }
    await pending.put(v1, { ...tag, walks: [x!] })
    await pending.put(v1, { ...tag, walks: [y!] })
    await pending.put(v1, { ...tag, ...times, walks: [y!, z!] })
    const all = { ...tag, ...times, walks: [x, y, z] }
    expect(await pending.on(v1, tag.digest)).toEqual([{ key: v1, pending: all }])
    await pending.put(v1, { ...moved, walks: [] })
    expect(await pending.on(v1, moved.digest)).toEqual([{ key: v1, pending: { ...moved, walks: all.walks } }])
  })

  it('has walks without end of none', async () => {
    for (let n = 0; n < 300; n++)
      await pending.put(v1, { ...tag, walks: [{ registry: `default/${n}`, ns: 'docker.io' }] })
    const [found] = await pending.on(v1, tag.digest)
    expect(found?.pending.walks.map(({ registry }) => registry)).toEqual(
      Array.from({ length: 256 }, (_, n) => `default/${n + 44}`),
    )
  })

  it('is of a hundred tags at most, and of none for ever', async () => {
    for (let n = 0; n < 150; n++) {
      await pending.put({ ...v1, tag: `v${n}` }, { ...tag, checkedAt: 1_000 + n })
    }
    const found = await pending.on(v1, tag.digest)
    expect(found.map(({ key }) => key.tag)).toEqual(Array.from({ length: 100 }, (_, n) => `v${n + 50}`))
    for (const key of await keys()) expect(Number(await redis.send('PTTL', key))).toBeGreaterThan(0)
  })

  it('is nothing where it is nonsense, and is written over', async () => {
    const walks = ['{"walks":7}', '{"walks":[7,{"registry":{}}]}', '{"walks":{"a":1}}']
    for (const value of ['', '{}', '[]', '7', '{"digest":7}', ...walks]) {
      await pending.put(v1, tag)
      await redis.send('SET', keyOf('P'), value)
      expect(await pending.on(v1, tag.digest)).toEqual([])
      await pending.put(v1, tag)
      expect(await pending.on(v1, tag.digest)).toEqual([{ key: v1, pending: tag }])
      await redis.send('SET', keyOf('d'), value)
      expect(await pending.on(v1, tag.digest)).toEqual([])
      await redis.send('DEL', keyOf('P'))
      await redis.send('LPUSH', keyOf('P'), value)
      await pending.put(v1, tag)
      expect(await pending.on(v1, tag.digest)).toEqual([{ key: v1, pending: tag }])
    }
  })

  it('lies in the slot of its repository', async () => {
    await pending.put(v1, tag)
    expect((await keys()).sort()).toEqual([keyOf('P'), keyOf('d')])
  })
})

const v1: TagKey = { upstreamId: 'a'.repeat(64), repository: 'library/alpine', tag: 'v1' }
const tag: PendingTag = {
  ...{ digest: digestOf(Buffer.from('a')), mediaType: 'x/manifest', size: 100, checkedAt: 1_000 },
  walks: [{ registry: 'default/hub', ns: '' }],
}
const moved: PendingTag = { ...tag, digest: digestOf(Buffer.from('b')), checkedAt: 2_000 }

function keyOf(kind: 'P' | 'd'): string {
  return `hw1:${kind}:{${v1.upstreamId}/${v1.repository}}:${kind === 'P' ? v1.tag : tag.digest}`
}
