import { randomUUID } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Changes } from './index-store.ts'
import type { RedisConnection } from './redis-connection.ts'

export interface RedisChanges extends Changes {
  close(): void
}

/** `onLost` where messages may be missed from then on, `onReady` when they come again. */
export type Subscribe = (options: {
  readonly channels: readonly string[]
  readonly onMessage: (channel: string, message: string) => void
  readonly onLost: () => void
  readonly onReady: () => void
}) => { restart(): void; close(): void }

const newsChannel = 'hw1:changes'
const pulseMs = 400
/** Memory is believed for so long after a pulse was sent that came back. */
const staleMs = 1_000
/** A subscription that is silent for so long is made anew. */
const silentMs = 3_000
/** Of news that Redis did not take; about 4 MB. */
const maxUntold = 20_000
/** So many at a time are told again. */
const againAtOnce = 500

/**
 * News by pub/sub, which loses messages without a word. So each replica sends itself a pulse on the way the news takes,
 * and what it heard is complete up to the sending of the last one that came back.
 */
export function createRedisChanges({
  redis,
  subscribe,
  monotonicNow = () => performance.now(),
}: {
  redis: Pick<RedisConnection, 'send'>
  subscribe: Subscribe
  monotonicNow?: () => number
}): RedisChanges {
  const id = randomUUID()
  const pulseChannel = `hw1:pulse:${id}`
  let completeUntil = Number.NEGATIVE_INFINITY
  let restartedAt = monotonicNow()
  let epoch = 0
  let tell: (key: string) => void = () => {}
  const untold = new LRUCache<string, true>({ max: maxUntold })

  const subscription = subscribe({
    channels: [newsChannel, pulseChannel],
    onLost() {
      completeUntil = Number.NEGATIVE_INFINITY
    },
    onReady: pulse,
    onMessage(channel, message) {
      if (channel === pulseChannel) return heard(Number(message))
      const [from, key] = split(message)
      if (from !== id) tell(key)
    },
  })
  const timer = setInterval(beat, pulseMs)
  timer.unref()

  /** Where it was away between two pulses, what memory held from before is not believed again. */
  function heard(sentAt: number): void {
    if (!(sentAt - completeUntil < staleMs)) epoch += 1
    completeUntil = sentAt
  }

  /** Where it fails nobody believes this memory; that of others is believed on, so what they were not told is told again. */
  function pulse(): void {
    redis.send('PUBLISH', pulseChannel, String(monotonicNow())).then(tellUntold, () => {})
  }

  function tellUntold(): void {
    for (const key of [...untold.keys()].slice(0, againAtOnce)) {
      untold.delete(key)
      announce(key)
    }
  }

  function announce(key: string): void {
    redis.send('PUBLISH', newsChannel, `${id} ${key}`).catch(() => untold.set(key, true))
  }

  function beat(): void {
    const now = monotonicNow()
    pulse()
    if (now - Math.max(completeUntil, restartedAt) < silentMs) return
    restartedAt = now
    subscription.restart()
  }

  return {
    epoch: () => (monotonicNow() - completeUntil < staleMs ? epoch : undefined),
    announce,
    listen(onChange) {
      tell = onChange
    },
    close() {
      clearInterval(timer)
      subscription.close()
    },
  }
}

function split(message: string): [string, string] {
  const at = message.indexOf(' ')
  return [message.slice(0, at), message.slice(at + 1)]
}
