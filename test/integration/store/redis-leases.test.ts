import { expect, it } from 'vitest'
import { createRedisLeases } from '../../../proxy/store/redis-leases.ts'
import { describeLeases } from '../../contracts/leases.ts'
import { useRedis } from '../../rig/use-redis.ts'

const redis = useRedis()

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
