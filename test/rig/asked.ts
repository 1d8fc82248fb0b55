import { setTimeout as sleep } from 'node:timers/promises'
import type { RedisServer } from './redis.ts'
import type { S3Server } from './s3-server.ts'

export interface Asked {
  readonly redis: readonly string[]
  /** As `GET /bucket/key`. */
  readonly s3: readonly string[]
}

/** What goes on however much is pulled: the pulse of the news, uses that are told every few seconds, who counts the cache. */
const always = [/^"publish"/i, /local downloads = \(tonumber\(known\[3\]/, /"hw1:f:probe"/]
/** What Redis and S3 were asked meanwhile, as they tell it themselves, but for what goes on anyway. */
export async function askedDuring(
  { redis, s3 }: { redis: RedisServer; s3: S3Server },
  work: () => Promise<void>,
): Promise<Asked> {
  const before = s3.requests().length
  const monitor = await redis.monitor()
  try {
    await work()
    await sleep(100)
  } finally {
    monitor.stop()
  }
  const asked = monitor.commands.filter((one) => !always.some((pattern) => pattern.test(one)))
  return { redis: asked.map((one) => one.slice(0, 200)), s3: s3.requests().slice(before) }
}
