import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import type { IndexStore, LinkEntry, LinkKey, TagEntry, TagKey } from '../../../proxy/store/index-store.ts'
import { parseRedisAddress } from '../../../proxy/store/redis-address.ts'
import { connectToRedis, type RedisConnection } from '../../../proxy/store/redis-connection.ts'
import { createRedisIndexStore } from '../../../proxy/store/redis-index-store.ts'
import { collect } from '../../contracts/collect.ts'
import { describeIndexStore } from '../../contracts/index-store.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { useRedis } from '../../rig/use-redis.ts'

describeWithParts(['redis-server'], 'over a real Redis', () => {
  const redis = useRedis()

  async function empty(): Promise<IndexStore> {
    await redis.send('FLUSHALL')
    return createRedisIndexStore({ redis })
  }

  describeIndexStore('Redis', empty)

  describe('what somebody else wrote', () => {
    const nonsense = ['', '{}', '[]', 'null', '{"digest":7}', '\u0000\u0001', '{"digest":"sha256:x"}']

    it('is absent where it is of another type, and is written over', async () => {
      const index = await empty()
      await index.putTag(tag, tagEntry)
      await index.putLink(link, linkEntry)
      for (const key of await keysOf()) {
        await redis.send('DEL', key)
        await redis.send('SET', key, 'nonsense')
      }
      expect(await everything(index)).toEqual([undefined, undefined, undefined, undefined, []])
      await index.touchTag(tag, tagEntry.digest, 5)
      await index.recordUses([{ tag, usedAt: 1, downloads: 1 }])
      expect(await index.getTag(tag)).toBeUndefined()
      await index.putTag(tag, tagEntry)
      await index.putLink(link, linkEntry)
      expect((await everything(index)).slice(0, 3)).toEqual([tagEntry, linkEntry, linkEntry.children[0]])
      expect(await collect(index.listUpstreams())).toEqual([tag.upstreamId])
    })

    it.each(['e', 'v', 'c'])('is absent where the field %s is nonsense', async (field) => {
      for (const value of nonsense) {
        const index = await empty()
        await index.putTag(tag, tagEntry)
        await index.putLink(link, linkEntry)
        for (const key of await keysOf('hw1:[tl]:*')) await redis.send('HSET', key, field, value)
        const found = [await index.getTag(tag), field === 'c' ? undefined : await index.getLink(link)]
        expect(found).toEqual([undefined, undefined])
        expect(await collect(index.listTags(tag.upstreamId))).toEqual([])
        await index.putTag(tag, tagEntry)
        expect(await index.getTag(tag)).toEqual(tagEntry)
      }
    })

    it('is no mention and no possession where it is nonsense', async () => {
      for (const value of nonsense) {
        const index = await empty()
        await index.putLink(link, linkEntry)
        for (const key of await keysOf('hw1:[mp]:*')) {
          for (const field of (await redis.send('HKEYS', key)) as string[]) {
            await redis.send('HSET', key, field, value)
          }
        }
        const [, , mention, possession] = await everything(index)
        expect([mention, possession]).toEqual([undefined, undefined])
      }
    })

    it('never keeps an entry that is of an unknown version', async () => {
      const index = await empty()
      await index.putTag(tag, { ...tagEntry, writtenAt: 9_000 })
      for (const key of await keysOf('hw1:t:*')) await redis.send('HSET', key, 'v', '2')
      await index.putTag(tag, tagEntry)
      expect(await index.getTag(tag)).toEqual(tagEntry)
    })
  })

  it('keeps all that one script touches in one slot of a cluster', async () => {
    const index = await empty()
    await index.putTag(tag, tagEntry)
    await index.putLink(link, linkEntry)
    const places = (await keysOf('hw1:[tTlLm]:*')).map((key) => /\{[^}]*\}/.exec(key)?.[0])
    expect(new Set(places)).toEqual(new Set([`{${tag.upstreamId}/${tag.repository}}`]))
  })

  it('asks for little at a time, however many children a manifest has', async () => {
    await redis.send('FLUSHALL')
    let most = 0
    const counting: Pick<RedisConnection, 'send'> = {
      send(...command) {
        most = Math.max(most, command.length)
        return redis.send(...command)
      },
    }
    const index = createRedisIndexStore({ redis: counting })
    const children = Array.from({ length: 5_000 }, (_, n) => ({
      ...layer,
      digest: digestOf(Buffer.from(`${n}`)),
    }))
    await index.putLink(link, { ...linkEntry, children })
    await index.putLink(link, linkEntry)
    expect(most).toBeLessThan(1_100)
  })

  it('sends what is asked at once without waiting in between', async () => {
    await (await empty()).putTag(tag, tagEntry)
    const held = await holdBack(redis.port, 'HMGET', 200)
    const through = connectToRedis(parseRedisAddress(`redis://127.0.0.1:${held.port}`)!)
    onTestFinished(async () => {
      through.close()
      await held.close()
    })
    expect(await through.ready(5_000)).toBe(true)
    const index = createRedisIndexStore({ redis: through })
    const answers = await Promise.all(Array.from({ length: 200 }, () => index.getTag(tag)))
    expect(answers).toEqual(Array.from({ length: 200 }, () => tagEntry))
  })

  async function keysOf(pattern = '*'): Promise<string[]> {
    return (await redis.send('KEYS', pattern)) as string[]
  }
})

const layer = { digest: digestOf(Buffer.from('layer')), kind: 'blob', mediaType: 'x/layer', size: 5 } as const
const tag: TagKey = { upstreamId: 'a'.repeat(64), repository: 'library/alpine', tag: 'latest' }
const link: LinkKey = { ...tag, kind: 'manifest', digest: digestOf(Buffer.from('a')) }
const tagEntry: TagEntry = {
  ...{ digest: link.digest, mediaType: 'x/manifest', size: 100, writtenAt: 1000, checkedAt: 1000 },
  walks: [{ registry: 'default/hub', ns: '' }],
}
const linkEntry: LinkEntry = { mediaType: 'x/manifest', size: 100, origin: 'origin-0', children: [layer] }

/** Leads to Redis, but keeps the commands of this name, and all behind them, until so many have come. */
async function holdBack(target: number, command: string, count: number) {
  const sockets = new Set<Socket>()
  const hold = (socket: Socket) => sockets.add(socket.on('error', () => {}))
  const proxy = createServer((client) => {
    const redis = connect(target, '127.0.0.1')
    hold(client)
    hold(redis)
    let kept = ''
    redis.on('data', (chunk: Buffer) => client.write(chunk))
    client.on('data', (chunk: Buffer) => {
      kept += chunk.toString('latin1')
      const seen = kept.split(command).length - 1
      if (seen > 0 && seen < count) return
      redis.write(kept, 'latin1')
      kept = ''
    })
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  return {
    port: (proxy.address() as AddressInfo).port,
    async close() {
      for (const socket of sockets) socket.destroy()
      proxy.close()
      await once(proxy, 'close')
    },
  }
}

async function everything(index: IndexStore) {
  return [
    await index.getTag(tag),
    await index.getLink(link),
    await index.getMention(tag.upstreamId, tag.repository, layer.digest),
    await index.getPossession('origin-0', link.digest),
    await collect(index.listUpstreams()),
  ]
}
