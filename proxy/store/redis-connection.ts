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
  /** What stands in the way of the connection; undefined where it is ready, or nothing is known yet. */
  trouble(): string | undefined
  close(): void
}

/** A connection that only listens. */
export interface RedisSubscription {
  close(): void
}

export interface RedisListener {
  readonly channels: readonly string[]
  readonly onMessage: (channel: string, message: string) => void
  readonly onLost: () => void
  readonly onReady: () => void
  readonly random?: () => number
}

/**
 * Redis answered with an error; `code` is its first word, such as `WRONGTYPE` or `OOM`, before Redis 7 that of a script's own
 * command too.
 */
export class RedisReplyError extends Error {
  override readonly name = 'RedisReplyError'
  readonly code: string
  constructor(message: string, cause: unknown) {
    super(message, { cause })
    this.code =
      /@user_script: ?\d+: -?([A-Z]+)\b/.exec(message)?.[1] ?? /^[A-Z]+\b/.exec(message)?.[0] ?? 'ERR'
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
  let trouble: string | undefined
  redis.on('ready', () => {
    trouble = undefined
  })
  // Without a listener the process would end.
  redis.on('error', (error: Error & { readonly lastNodeError?: Error }) => {
    trouble = reasonOf(error.lastNodeError ?? error)
  })

  return {
    send(command, ...args) {
      return redis.call(command, ...args.map(String)).catch((error: unknown) => {
        if (error instanceof Error && error.name === 'ReplyError')
          throw new RedisReplyError(error.message, error)
        throw trouble === undefined
          ? error
          : new Error(`no connection to Redis: ${trouble}`, { cause: error })
      })
    },

    trouble: () => trouble,

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

/** Where each address of a host refuses, the error of them all has a code alone. */
function reasonOf(error: NodeJS.ErrnoException): string {
  return error.message || (error.code ?? error.name)
}

/**
 * Listens to channels for as long as it is not closed, through however many connections. `onLost` is called whenever
 * messages may be missed from now on, `onReady` when they come again; `restart` begins a new connection where the one there is has fallen silent.
 */
export function subscribeToRedis(
  address: RedisAddress,
  listener: RedisListener,
): RedisSubscription & { restart(): void } {
  const { random = Math.random } = listener
  if (address.kind === 'cluster') return subscribeToCluster(address, listener, random)
  const redis = connectToOne(address, random)
  listen(redis, listener)
  return {
    restart: () => redis.disconnect(true),
    close: () => redis.disconnect(),
  }
}

/**
 * Any node of a Cluster brings the news of all. By itself ioredis goes on at another where one is lost, and tells nobody that
 * there was a gap.
 */
function subscribeToCluster(
  address: RedisAddress,
  listener: RedisListener,
  random: () => number,
): RedisSubscription & { restart(): void } {
  const cluster = connectToCluster(address, random)
  cluster.on('error', () => {})
  let node: Redis | undefined
  let timer: NodeJS.Timeout | undefined
  let attempts = 0
  let closed = false

  function begin(): void {
    const nodes = cluster.nodes()
    const chosen = nodes[Math.floor(random() * nodes.length)]
    node = chosen?.duplicate({ ...optionsOf(address, random), lazyConnect: false, retryStrategy: null })
    if (!node) {
      again()
      return
    }
    listen(node, listener)
    node.on('ready', () => {
      attempts = 0
    })
    node.once('end', again)
  }

  function again(): void {
    if (closed) return
    attempts += 1
    timer = setTimeout(begin, backoffMs(attempts, random))
    timer.unref()
  }

  cluster.once('ready', begin)
  return {
    restart: () => node?.disconnect(),
    close() {
      closed = true
      clearTimeout(timer)
      node?.disconnect()
      cluster.disconnect()
    },
  }
}

function listen(redis: Redis, { channels, onMessage, onLost, onReady }: RedisListener): void {
  redis.on('error', () => {})
  redis.on('close', onLost)
  redis.on('message', onMessage)
  redis.on('ready', () => {
    redis.subscribe(...channels).then(onReady, () => redis.disconnect(true))
  })
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
    reconnectOnError: (error: Error) => /(?:^|: -)(?:READONLY|MASTERDOWN)\b/.test(error.message),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls ? { tls: {} } : {}),
  } as const satisfies RedisOptions
}

/** Up to 2 s, spread so that many replicas do not come back at once. */
function backoffMs(times: number, random: () => number): number {
  return Math.min(2_000, 50 * 2 ** Math.min(times, 10)) * (0.5 + random())
}
