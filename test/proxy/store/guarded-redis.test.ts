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
    // a script may have been run when its answer was lost: it is not run again
    expect(asked.filter((line) => line.startsWith('EVAL a script')).length).toBeLessThan(2)
  },
)

it('is back also where the key it asks for holds something else', async () => {
  const { guarded, refuse } = rig()
  refuse(() => 'LOADING the dataset')
  await expect(guarded.send('HMGET', 'a', 'v')).rejects.toThrow(StoreUnavailableError)
  refuse(() => 'WRONGTYPE of a key')
  await expect.poll(() => guarded.available, { timeout: 10_000 }).toBe(true)
  await expect(guarded.send('HMGET', 'a', 'v')).rejects.toMatchObject({ code: 'WRONGTYPE' })
})
