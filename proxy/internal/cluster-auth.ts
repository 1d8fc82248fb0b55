import { createHmac, timingSafeEqual } from 'node:crypto'

/** How the programs of one installation know each other: by a key that all of them have. */
export interface ClusterAuth {
  /** The `Authorization` of a request; `target` is its path and query as sent, `now` milliseconds since the epoch. */
  sign(method: string, target: string, now: number): string
  /** Whether one who has a key of ours sent this, within a minute of now. */
  verify(authorization: string | undefined, method: string, target: string, now: number): boolean
}

const windowSeconds = 60
const shortestKey = 32
const mostKeys = 2

/** The first key signs, all of them verify: so that a key can be exchanged while both are in use. */
export function createClusterAuth(keys: readonly string[]): ClusterAuth {
  const [first] = keys
  if (first === undefined) throw new Error('there must be a cluster key')

  return {
    sign(method, target, now) {
      const time = String(Math.floor(now / 1000))
      return `Headwater ${time}.${digestOf(first, method, target, time).toString('hex')}`
    },
    verify(authorization, method, target, now) {
      const { time, hex } =
        /^Headwater (?<time>\d{1,12})\.(?<hex>[0-9a-f]{64})$/.exec(authorization ?? '')?.groups ?? {}
      if (time === undefined || hex === undefined) return false
      if (Math.abs(now / 1000 - Number(time)) > windowSeconds) return false
      const given = Buffer.from(hex, 'hex')
      return keys.filter((key) => timingSafeEqual(given, digestOf(key, method, target, time))).length > 0
    },
  }
}

/**
 * The keys in a file's text, one on each line; undefined when there is none, more than two, or one of less than 32 bytes.
 */
export function parseClusterKeys(text: string): readonly string[] | undefined {
  const keys = text.split(/\r?\n/).filter((line) => line !== '')
  const isGood = keys.every((key) => Buffer.byteLength(key) >= shortestKey)
  return keys.length >= 1 && keys.length <= mostKeys && isGood ? keys : undefined
}

function digestOf(key: string, method: string, target: string, time: string): Buffer {
  return createHmac('sha256', key).update(`${method}\n${target}\n${time}`).digest()
}
