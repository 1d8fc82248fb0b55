import { Cluster, Redis, type RedisOptions } from 'ioredis'
// the class itself for vitest, the module around it for Node
import dataHandler from 'ioredis/built/DataHandler.js'
import type { RedisAddress } from './redis-address.ts'

/** Commands to Redis, one at a time; those of one turn of the event loop share their round trip. */
export interface RedisConnection {
  /** Throws RedisReplyError for what Redis refuses; anything else that it rejects with means that it was not reached. Waits for no connection. */
  send(command: string, ...args: readonly (string | number)[]): Promise<unknown>
  /** Resolves when the connection is ready, or after so long. */
  ready(ms: number): Promise<boolean>
  close(): void
}

/** A connection that only listens. */
export interface RedisSubscription {
  close(): void
}

/** Redis answered with an error; `code` is its first word, such as `WRONGTYPE` or `OOM`. */
export class RedisReplyError extends Error {
  override readonly name = 'RedisReplyError'
  readonly code: string
  constructor(message: string, cause: unknown) {
    super(message, { cause })
    this.code = /^[A-Z]+\b/.exec(message)?.[0] ?? 'ERR'
  }
}

interface Handler {
  dispatch(handle: () => void): void
  returnFatalError(error: unknown): void
}

/** An answer that is none, as a number to SUBSCRIBE, ends the connection: ioredis would end the process. */
const handler = (dataHandler.default ?? dataHandler).prototype as unknown as Handler
handler.dispatch = function dispatch(this: Handler, handle) {
  try {
    handle()
  } catch (error) {
    this.returnFatalError(error)
  }
}

/** What stands in the way of a command for longer than this is no connection: it is made anew. */
const silenceMs = 1_000
const connectMs = 1_000

export function connectToRedis(address: RedisAddress, random: () => number = Math.random): RedisConnection {
  const redis = address.kind === 'cluster' ? connectToCluster(address, random) : connectToOne(address, random)
  // Every command tells by itself; without a listener the process would end.
  redis.on('error', () => {})

  return {
    send(command, ...args) {
      return redis.call(command, ...args.map(String)).catch((error: unknown) => {
        if (error instanceof Error && error.name === 'ReplyError')
          throw new RedisReplyError(error.message, error)
        throw error
      })
    },

    ready(ms) {
      if (redis.status === 'ready') return Promise.resolve(true)
      return new Promise((resolve) => {
        const done = (is: boolean) => {
          clearTimeout(timer)
          redis.off('ready', onReady)
          resolve(is)
        }
        const onReady = () => done(true)
        const timer = setTimeout(() => done(false), ms)
        redis.on('ready', onReady)
      })
    },

    close: () => redis.disconnect(),
  }
}

/**
 * Listens to channels for as long as it is not closed, through however many connections. `onLost` is called whenever
 * messages may be missed from now on, `onReady` when they come again; `restart` begins a new connection where the one there is has fallen silent.
 */
export function subscribeToRedis(
  address: RedisAddress,
  {
    channels,
    onMessage,
    onLost,
    onReady,
    random = Math.random,
  }: {
    readonly channels: readonly string[]
    readonly onMessage: (channel: string, message: string) => void
    readonly onLost: () => void
    readonly onReady: () => void
    readonly random?: () => number
  },
): RedisSubscription & { restart(): void } {
  const redis = address.kind === 'cluster' ? connectToCluster(address, random) : connectToOne(address, random)
  redis.on('error', () => {})
  redis.on('close', onLost)
  redis.on('message', onMessage)
  redis.on('ready', () => {
    redis.subscribe(...channels).then(onReady, () => redis.disconnect(true))
  })
  return {
    restart: () => redis.disconnect(true),
    close: () => redis.disconnect(),
  }
}

function connectToOne(address: RedisAddress, random: () => number): Redis {
  const { kind, nodes, master } = address
  const options = optionsOf(address, random)
  if (kind === 'single') return new Redis({ ...options, ...nodes[0]! })
  const { username, password, tls } = address
  return new Redis({
    ...options,
    sentinels: [...nodes],
    name: master!,
    sentinelRetryStrategy: (times: number) => backoffMs(times, random),
    sentinelCommandTimeout: connectMs,
    ...(username === undefined ? {} : { sentinelUsername: username }),
    ...(password === undefined ? {} : { sentinelPassword: password }),
    ...(tls ? { enableTLSForSentinelMode: true, sentinelTLS: {} } : {}),
  })
}

function connectToCluster(address: RedisAddress, random: () => number): Cluster {
  return new Cluster([...address.nodes], {
    redisOptions: optionsOf(address, random),
    clusterRetryStrategy: (times) => backoffMs(times, random),
    enableOfflineQueue: false,
    maxRedirections: 3,
    retryDelayOnFailover: 50,
    slotsRefreshTimeout: connectMs,
    slotsRefreshInterval: 10_000,
    ...(address.tls ? { dnsLookup: (host, done) => done(null, host) } : {}),
  })
}

/** Nothing waits for a connection, nothing is sent twice, and silence is not borne for long. */
function optionsOf({ username, password, tls, database }: RedisAddress, random: () => number) {
  return {
    protocol: 2,
    db: database,
    connectionName: 'headwater',
    disableClientInfo: true,
    connectTimeout: connectMs,
    commandTimeout: silenceMs,
    socketTimeout: silenceMs,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (times: number) => backoffMs(times, random),
    // after a failover the old address may lead to what is a replica now
    reconnectOnError: (error: Error) => /^(?:READONLY|MASTERDOWN)\b/.test(error.message),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls ? { tls: {} } : {}),
  } as const satisfies RedisOptions
}

/** Up to 2 s, spread so that many replicas do not come back at once. */
function backoffMs(times: number, random: () => number): number {
  return Math.min(2_000, 50 * 2 ** Math.min(times, 10)) * (0.5 + random())
}
