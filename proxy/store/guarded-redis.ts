import { type Breaker, createBreaker, StoreUnavailableError } from './breaker.ts'
import { type RedisConnection, RedisReplyError } from './redis-connection.ts'

/** A connection behind a breaker: throws StoreUnavailableError where Redis is away. */
export interface GuardedRedis extends Pick<RedisConnection, 'send'>, Pick<Breaker, 'available' | 'open'> {
  close(): void
}

/** All that one command of Redis may take. */
const redisMs = 300

type Command = readonly [string, ...(string | number)[]]

/** KEYS: any. Changes nothing, and is refused where writes are. */
const triedWriteScript = `return redis.pcall('HDEL', KEYS[1], '-')`

/**
 * Redis is back when it does what it did not do before: one that answers a PING may not read, one that reads may not write, and
 * of a Cluster each node has keys of its own.
 */
export function guardRedis(
  connection: Pick<RedisConnection, 'send'>,
  onChange: (available: boolean, error: unknown) => void,
): GuardedRedis {
  let undone: Command | undefined
  const breaker = createBreaker({
    name: 'Redis',
    probe: () => connection.send(...probeOf(undone)).catch(orAnswered),
    probeMs: redisMs,
    isTrouble,
    failuresToOpen: 1,
    onChange(available, error) {
      if (available) undone = undefined
      onChange(available, error)
    },
  })

  return {
    get available() {
      return breaker.available
    },
    async send(...command) {
      const isAsked = breaker.available
      try {
        return await breaker.run(() => connection.send(...command), redisMs)
      } catch (error) {
        // any node of a Cluster answers a PUBLISH, also where the one that opened it is silent
        const says = undone === undefined || command[0] !== 'PUBLISH'
        if (isAsked && says && error instanceof StoreUnavailableError) undone = command
        throw error
      }
    },
    open: breaker.open,
    close: breaker.close,
  }
}

/** The same again; of a script, or of a deletion, only that it may write to the same key, since it may have been done. */
function probeOf(command: Command = ['HMGET', 'hw1:probe', 'v']): Command {
  const [name, first, , third] = command
  const key = name === 'EVAL' ? third : name === 'DEL' || name === 'HDEL' ? first : undefined
  return key === undefined ? command : ['EVAL', triedWriteScript, 1, key]
}

function orAnswered(error: unknown): void {
  if (isTrouble(error)) throw error
}

function isTrouble(error: unknown): boolean {
  return !(error instanceof RedisReplyError) || awayCodes.has(error.code)
}

/**
 * What Redis says to everything, or to every write: an older tag would stay, and be believed. Others are about one command: a
 * full memory, for one, hinders no reading, and lets go of a tag.
 */
const awayCodes = new Set([
  ...['LOADING', 'BUSY', 'MASTERDOWN', 'CLUSTERDOWN', 'MOVED', 'ASK', 'TRYAGAIN'],
  ...['READONLY', 'MISCONF', 'NOREPLICAS'],
  ...['NOAUTH', 'WRONGPASS', 'NOPERM', 'UNBLOCKED'],
])
