import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { parseRedisAddress } from '../../../proxy/store/redis-address.ts'
import { createRedisChanges } from '../../../proxy/store/redis-changes.ts'
import {
  connectToRedis,
  type RedisConnection,
  subscribeToRedis,
} from '../../../proxy/store/redis-connection.ts'
import { createRedisIndexStore } from '../../../proxy/store/redis-index-store.ts'
import { createRedisLeases } from '../../../proxy/store/redis-leases.ts'
import { createRedisPending } from '../../../proxy/store/redis-pending.ts'
import { createRedisUseTotals } from '../../../proxy/store/redis-use-totals.ts'
import { describeIndexStore } from '../../contracts/index-store.ts'
import { describeLeases } from '../../contracts/leases.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type RedisServer, startRedis } from '../../rig/redis.ts'

const documented = /^ACL SETUSER headwater on >secret (.*)$/m.exec(
  readFileSync('docs/configuration.md', 'utf8'),
)

describeWithParts(['redis-server'], 'a user with the rights that the documentation gives it', () => {
  let server: RedisServer
  let redis: RedisConnection
  beforeAll(async () => {
    server = await startRedis()
    await server.command('ACL', 'SETUSER', 'headwater', 'on', '>secret', ...documented![1]!.split(' '))
    redis = connectToRedis(addressOf())
    expect(await redis.ready(5_000)).toBe(true)
  })
  afterAll(async () => {
    redis?.close()
    await server?.close()
  })

  const addressOf = () => parseRedisAddress(`redis://headwater:secret@127.0.0.1:${server.port}`)!

  describeIndexStore('Redis with few rights', async () => {
    await server.command('FLUSHALL')
    return createRedisIndexStore({ redis })
  })
  describeLeases('those of a Redis with few rights', async () => {
    await server.command('FLUSHALL')
    return createRedisLeases({ redis })
  })

  it('hears the news, shares what is pending, and is refused nothing', async () => {
    const key = { upstreamId: 'a'.repeat(64), repository: 'library/app', tag: 'v1' }
    const digest = digestOf(Buffer.from('m'))
    const pending = createRedisPending({ redis })
    const walks = [{ registry: 'default/hub', ns: '' }]
    await pending.put(key, { digest, mediaType: 'x/m', size: 1, checkedAt: 1, walks })
    expect(await pending.on(key, digest)).toHaveLength(1)
    const uses = createRedisUseTotals({ redis })
    await uses.raise([{ tag: key, usedAt: 1, downloads: 1 }])
    await uses.read([{ tag: key }])
    const changes = createRedisChanges({
      redis,
      subscribe: (options) => subscribeToRedis(addressOf(), options),
    })
    await expect.poll(() => changes.epoch(), { timeout: 10_000 }).toBeDefined()
    changes.close()
    expect(await server.command('ACL', 'LOG')).toBe('*0\r\n')
  })
})
