import { expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { StoreUnavailableError } from '../../../proxy/store/breaker.ts'
import { guardRedis } from '../../../proxy/store/guarded-redis.ts'
import type { TagEntry, TagKey } from '../../../proxy/store/index-store.ts'
import { parseRedisAddress } from '../../../proxy/store/redis-address.ts'
import { connectToRedis } from '../../../proxy/store/redis-connection.ts'
import { createRedisIndexStore } from '../../../proxy/store/redis-index-store.ts'
import { createRedisLeases } from '../../../proxy/store/redis-leases.ts'
import { createSoftIndex } from '../../../proxy/store/soft-stores.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { startRedis } from '../../rig/redis.ts'

const tag: TagKey = { upstreamId: 'a'.repeat(64), repository: 'library/app', tag: 'v1' }
const entry: TagEntry = {
  ...{ digest: digestOf(Buffer.from('old')), mediaType: 'x/m', size: 1, writtenAt: 1, checkedAt: 1 },
  walks: [],
}

describeWithParts(['redis-server'], 'R7: a Redis that has become a replica', () => {
  it('is away until it takes writes again, and is told then of what it did not take', async () => {
    const server = await startRedis()
    onTestFinished(() => server.close())
    const connection = connectToRedis(parseRedisAddress(server.url)!)
    const changes: boolean[] = []
    const guarded = guardRedis(connection, (available) => changes.push(available))
    onTestFinished(() => {
      guarded.close()
      connection.close()
    })
    const index = createSoftIndex(createRedisIndexStore({ redis: guarded }))
    expect(await connection.ready(5_000)).toBe(true)
    await index.putTag(tag, entry)
    await server.command('REPLICAOF', '127.0.0.1', '1')

    const moved = { ...entry, digest: digestOf(Buffer.from('new')), writtenAt: 2 }
    await index.putTag(tag, moved)
    expect(await index.getTag(tag)).toBeUndefined()
    const lease = { token: 'a', url: 'http://a' }
    await expect(createRedisLeases({ redis: guarded }).claim('fill', lease)).rejects.toThrow(
      StoreUnavailableError,
    )
    expect(await connection.ready(5_000)).toBe(true)
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    expect(changes).toEqual([false])

    await server.command('REPLICAOF', 'NO', 'ONE')
    await expect.poll(() => guarded.available, { timeout: 10_000 }).toBe(true)
    await index.catchUp()
    expect(await index.getTag(tag)).toEqual(moved)
  })
})
