import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { StoreUnavailableError } from '../../../proxy/store/breaker.ts'
import { guardRedis } from '../../../proxy/store/guarded-redis.ts'
import { RedisReplyError } from '../../../proxy/store/redis-connection.ts'

/** A Redis that answers everything but what the test has it refuse. */
function rig() {
  const changes: boolean[] = []
  const asked: string[] = []
  let refuses: (command: readonly (string | number)[]) => string | undefined = () => undefined
  const connection = {
    async send(...command: readonly [string, ...(string | number)[]]) {
      asked.push(command.join(' '))
      const refusal = refuses(command)
      if (refusal === 'silence') await sleep(5_000, undefined, { ref: false })
      if (refusal !== undefined) throw new RedisReplyError(refusal, undefined)
      return 1
    },
  }
  const guarded = guardRedis(connection, (available) => changes.push(available))
  onTestFinished(guarded.close)
  const refuse = (next: typeof refuses) => {
    refuses = next
  }
  return { guarded, changes, asked, refuse }
}

it.each<[string, [string, ...(string | number)[]], string, string]>([
  ['a node of a Cluster is silent', ['HMGET', 'hw1:t:{there}', 'v'], 'there', 'silence'],
  ['its user may write to no channel', ['PUBLISH', 'hw1:changes', 'x'], 'PUBLISH', 'NOPERM no such channel'],
  ['it reads and does not write', ['EVAL', 'a script', 1, 'hw1:t:{a}', 'x'], 'EVAL', 'READONLY a replica'],
  ['a node with a lease is silent', ['DEL', 'hw1:f:{there}'], 'there', 'silence'],
  ['a node with a possession is silent', ['HDEL', 'hw1:p:{there}', 'x'], 'there', 'silence'],
  ['it cannot save', ['EVAL', 'a script', 1, 'hw1:t:{a}', 'x'], 'EVAL', 'MISCONF no snapshot'],
] as const)(
  'R14: where %s it is away until it does what it did not do',
  async (_, command, what, refusal) => {
    const { guarded, changes, asked, refuse } = rig()
    refuse((words) => (words.join(' ').includes(what) ? refusal : undefined))
    await expect(guarded.send(...command)).rejects.toThrow(StoreUnavailableError)
    await expect.poll(() => asked.length, { timeout: 10_000 }).toBeGreaterThan(2)
    expect([guarded.available, changes]).toEqual([false, [false]])
    refuse(() => undefined)
    await expect.poll(() => guarded.available, { timeout: 10_000 }).toBe(true)
    expect(changes).toEqual([false, true])
    // it may have been done when its answer was lost: it is not done again
    expect(asked.filter((line) => /^(?:EVAL a script|DEL|HDEL)/.test(line)).length).toBeLessThan(2)
  },
)

it('R14: where a PUBLISH was not answered either, it is away until the key is there again', async () => {
  const { guarded, changes, asked, refuse } = rig()
  refuse(([name]) => (name === 'PUBLISH' ? 'silence' : 'READONLY a replica'))
  await Promise.allSettled([
    guarded.send('PUBLISH', 'hw1:changes', 'x'),
    guarded.send('EVAL', 'a script', 1, 'hw1:t:{a}'),
  ])
  refuse(([name]) => (name === 'PUBLISH' ? undefined : 'READONLY a replica'))
  const before = asked.length
  await expect.poll(() => asked.length, { timeout: 10_000 }).toBeGreaterThan(before + 1)
  expect([guarded.available, changes]).toEqual([false, [false]])
  expect(asked.filter((line) => line.startsWith('PUBLISH'))).toHaveLength(1)
})

it('asks no more for what it has done since', async () => {
  const { guarded, asked, refuse } = rig()
  refuse(() => 'LOADING the dataset')
  await expect(guarded.send('HMGET', 'a', 'v')).rejects.toThrow(StoreUnavailableError)
  refuse(() => undefined)
  await expect.poll(() => guarded.available, { timeout: 10_000 }).toBe(true)
  guarded.open(new Error('cut'))
  await expect.poll(() => guarded.available, { timeout: 10_000 }).toBe(true)
  expect(asked.at(-1)).toBe('HMGET hw1:probe v')
})

it('is back also where the key it asks for holds something else', async () => {
  const { guarded, refuse } = rig()
  refuse(() => 'LOADING the dataset')
  await expect(guarded.send('HMGET', 'a', 'v')).rejects.toThrow(StoreUnavailableError)
  refuse(() => 'WRONGTYPE of a key')
  await expect.poll(() => guarded.available, { timeout: 10_000 }).toBe(true)
  await expect(guarded.send('HMGET', 'a', 'v')).rejects.toMatchObject({ code: 'WRONGTYPE' })
})
