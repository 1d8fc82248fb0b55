import dns from 'node:dns'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest'
import { parseRedisAddress } from '../../../proxy/store/redis-address.ts'
import { connectToRedis, RedisReplyError, subscribeToRedis } from '../../../proxy/store/redis-connection.ts'
import { createFakeRedis, type FakeRedis, nonsenseReplies } from '../../rig/fake-redis.ts'
import { createFaultProxy } from '../../rig/fault-proxy.ts'

let redis: FakeRedis
beforeEach(async () => {
  redis = await createFakeRedis()
})
afterEach(() => redis.close())

it.each([...nonsenseReplies, '*0\r\n', '*1\r\n$9\r\nsubscribe\r\n', '*-1\r\n'])(
  'R14: a subscription that is answered with %j is tried again, and harms nobody',
  async (reply) => {
    let ready = 0
    redis.answer(reply)
    const subscription = subscribeToRedis(parseRedisAddress(redis.url)!, {
      channels: ['a', 'b'],
      onMessage() {},
      onLost() {},
      onReady: () => {
        ready += 1
      },
      random: () => 0,
    })
    await expect.poll(() => redis.commands.includes('SUBSCRIBE'), { timeout: 10_000 }).toBe(true)
    await sleep(50)
    const one = (name: string, n: number) => `*3\r\n$9\r\nsubscribe\r\n$1\r\n${name}\r\n:${n}\r\n`
    const before = ready
    redis.answer(([name]) => (/^subscribe$/i.test(name ?? '') ? one('a', 1) + one('b', 2) : '+OK\r\n'))
    subscription.restart()
    await expect.poll(() => ready, { timeout: 10_000 }).toBeGreaterThan(before)
    subscription.close()
  },
)

it('R17: fifty that lost their Redis ask for it now and then, each at a time of its own, and are all back soon', async () => {
  const port = await createFaultProxy(redis.port)
  const address = parseRedisAddress(`redis://127.0.0.1:${port.port}`)!
  const connections = Array.from({ length: 50 }, () => connectToRedis(address))
  for (const one of connections) expect(await one.ready(10_000)).toBe(true)
  await port.set({ kind: 'reset' })
  await sleep(1_500)
  const before = port.accepted()
  await sleep(2_000)
  // each waits a second or more by now
  expect(port.accepted() - before).toBeLessThan(50 * 4)

  await port.lift()
  const startedAt = performance.now()
  const backAt = await Promise.all(
    connections.map(async (one) => {
      expect(await one.ready(10_000)).toBe(true)
      return performance.now() - startedAt
    }),
  )
  const tenths = new Map<number, number>()
  for (const ms of backAt) tenths.set(Math.floor(ms / 100), (tenths.get(Math.floor(ms / 100)) ?? 0) + 1)
  expect(Math.max(...tenths.values())).toBeLessThan(30)
  for (const one of connections) one.close()
  await port.close()
})

it('R13: says what Redis said to its connection, and nothing of the password', async () => {
  redis.refuseLogin('-WRONGPASS invalid username-password pair or user is disabled.\r\n')
  const connection = connectToRedis(parseRedisAddress(`redis://me:canary-password@127.0.0.1:${redis.port}`)!)
  onTestFinished(() => connection.close())
  expect(await connection.ready(200)).toBe(false)
  expect(connection.trouble()).toMatch(/^WRONGPASS/)
  const error: unknown = await connection.send('HMGET', 'a', 'v').catch((reason: unknown) => reason)
  expect((error as Error).message).toMatch(/^no connection to Redis: WRONGPASS/)
  expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('canary')
  redis.refuseLogin(undefined)
  expect(await connection.ready(10_000)).toBe(true)
  expect(connection.trouble()).toBeUndefined()
})

it('R13: says that it was refused also where a host has several addresses', async () => {
  const addresses = ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 }))
  const lookup = (_: string, __: unknown, done: (...found: unknown[]) => void) => done(null, addresses)
  const spy = vi.spyOn(dns, 'lookup').mockImplementation(lookup as never)
  onTestFinished(() => spy.mockRestore())
  const connection = connectToRedis(parseRedisAddress('redis://redis.example:1')!)
  onTestFinished(() => connection.close())
  await expect.poll(() => connection.trouble(), { timeout: 10_000 }).toBeDefined()
  expect(connection.trouble()).toBe('ECONNREFUSED')
})

it.each([
  ['READONLY You are no master', 'READONLY'],
  [
    "ERR Error running script (call to f_ab): @user_script:5: @user_script: 5: -READONLY You can't write",
    'READONLY',
  ],
  ['ERR unknown command', 'ERR'],
])('reads the code of what Redis refuses: %s', (message, code) => {
  expect(new RedisReplyError(message, undefined).code).toBe(code)
})
