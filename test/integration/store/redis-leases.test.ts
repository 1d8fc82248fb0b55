import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseRedisAddress } from '../../../proxy/store/redis-address.ts'
import { connectToRedis, type RedisConnection } from '../../../proxy/store/redis-connection.ts'
import { createRedisLeases } from '../../../proxy/store/redis-leases.ts'
import { describeLeases } from '../../contracts/leases.ts'
import { type RedisServer, startRedis } from '../../rig/redis.ts'

let server: RedisServer
let redis: RedisConnection

beforeAll(async () => {
  server = await startRedis()
  redis = connectToRedis(parseRedisAddress(server.url)!)
  await redis.ready(5_000)
})
afterAll(async () => {
  redis?.close()
  await server?.close()
})

describeLeases('those of Redis', async () => {
  await redis.send('FLUSHALL')
  return createRedisLeases({ redis })
})

it.each([
  ['of another type', ['SET', 'hw1:f:k', 'x']],
  ['that does not parse', ['HSET', 'hw1:f:k', 't', 'x', 'l', 'nonsense']],
])('what is %s is as good as nobody’s', async (_name, [command, ...args]) => {
  await redis.send('FLUSHALL')
  await redis.send(command!, ...args!)
  const leases = createRedisLeases({ redis })
  expect(await leases.look('k')).toBeUndefined()
  expect(await leases.claim('k', { token: 'a', url: 'http://a' })).toMatchObject({ isOurs: true })
})
