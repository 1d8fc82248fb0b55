import { expect, it } from 'vitest'
import { createRedisLeases } from '../../../proxy/store/redis-leases.ts'

it.each([[1], ['OK'], [[]], [[0, 'no lease', 0]], [undefined]])(
  'claims nothing for ever of a Redis that answers %j (R14)',
  async (reply) => {
    let asked = 0
    const leases = createRedisLeases({
      redis: {
        async send() {
          asked += 1
          if (asked > 100) throw new Error('asked without end')
          return reply
        },
      },
    })
    await expect(leases.claim('key', { token: 'a', url: '' })).rejects.toThrow('with what is none')
    expect(asked).toBe(4)
  },
)
