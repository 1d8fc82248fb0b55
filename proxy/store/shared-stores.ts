import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Observer } from '../observer.ts'
import type { BlobStore } from './blob-store.ts'
import { type Breaker, createBreaker, StoreUnavailableError } from './breaker.ts'
import { createDeletionMarks, withMarksLifted } from './deletion-marks.ts'
import { createDiskBudget } from './disk-budget.ts'
import type { DocumentStore } from './document-store.ts'
import { makeRoot } from './durability.ts'
import { createFileBlobStore } from './file-blob-store.ts'
import { lockFolder } from './folder-lock.ts'
import type { IndexStore } from './index-store.ts'
import type { Leases } from './leases.ts'
import type { RedisAddress } from './redis-address.ts'
import { createRedisChanges } from './redis-changes.ts'
import {
  connectToRedis,
  type RedisConnection,
  RedisReplyError,
  subscribeToRedis,
} from './redis-connection.ts'
import { createRedisIndexStore } from './redis-index-store.ts'
import { createRedisLeases } from './redis-leases.ts'
import { createRedisPending } from './redis-pending.ts'
import { createRedisUseTotals } from './redis-use-totals.ts'
import { blobRoot, createS3BlobStore } from './s3-blob-store.ts'
import { createBucket } from './s3-bucket.ts'
import { createS3DocumentStore } from './s3-document-store.ts'
import { createSoftIndex, softDocuments, softPending } from './soft-stores.ts'
import type { Sweepable } from './sweepable.ts'
import { createUseSnapshots, type UseSnapshots, type UseTotals } from './use-snapshots.ts'

export interface SharedStores {
  readonly blobs: BlobStore
  readonly documents: DocumentStore
  readonly index: IndexStore
  /** Undefined where nothing is shared. */
  readonly leases: Leases | undefined
  /** Undefined where the index keeps what it was told. */
  readonly snapshots: UseSnapshots | undefined
  readonly sweepable: Sweepable
  /** The names of the stores that are away. */
  degraded(): readonly SharedStoreName[]
  /** Only when nobody uses the stores any more. */
  close(): Promise<void>
}

export type SharedStoreName = 'redis' | 's3'

export interface SharedStoresObserver
  extends Pick<Observer, 'spoolBytes' | 'storedBytes' | 'evicted' | 'storeFailure'> {
  /** Told on each change; with the error that made it so when it went away. */
  storeAvailable(store: SharedStoreName, available: boolean, error: unknown): void
}

export interface SharedStoresOptions {
  readonly redis: RedisAddress
  readonly s3: {
    readonly bucket: string
    readonly endpoint: string | undefined
    readonly redirectEndpoint: string | undefined
    readonly region: string | undefined
  }
  readonly spool: { readonly folder: string; readonly maxBytes: number | undefined }
  readonly observer: SharedStoresObserver
}

/** All that one command of Redis may take. */
const redisMs = 300
const startMs = 2_000
const endMs = 5_000

/**
 * The stores that many replicas share, and the disk of this one in front of them. Neither Redis nor S3 need be there: what
 * is away is done without, and comes back by itself. Throws FolderInUseError and BucketSettingsError.
 */
export async function openSharedStores({
  redis,
  s3,
  spool,
  observer,
}: SharedStoresOptions): Promise<SharedStores> {
  const root = await makeRoot(spool.folder)
  const unlock = lockFolder(join(root, 'lock'))
  const connection = connectToRedis(redis)
  const breaker = createRedisBreaker(connection, (available, error) => {
    observer.storeAvailable('redis', available, error)
    if (available) void index.catchUp().catch((problem) => observer.storeFailure('index.catchUp', problem))
  })
  const bucket = createBucket({
    ...s3,
    onChange: (available, error) => observer.storeAvailable('s3', available, error),
  })
  const guarded: Pick<RedisConnection, 'send'> = {
    send: (command, ...args) => breaker.run(() => connection.send(command, ...args), redisMs),
  }
  const changes = createRedisChanges({
    redis: guarded,
    subscribe: (options) => subscribeToRedis(redis, options),
  })
  const index = createSoftIndex(createRedisIndexStore({ redis: guarded }))

  function release(): void {
    changes.close()
    breaker.close()
    connection.close()
    bucket.close()
    unlock()
  }

  try {
    const budget = createDiskBudget({ maxBytes: spool.maxBytes })
    const hot = await createFileBlobStore({ root: join(root, 'blobs'), budget, observer })
    const [connected] = await Promise.all([connection.ready(startMs), bucket.check()])
    if (!connected) breaker.failed(new Error('Redis could not be reached at the start'))
    const blobs = createS3BlobStore({ bucket, hot, observer })
    const documents = createS3DocumentStore({ bucket })
    const marks = createDeletionMarks({
      documents: createS3DocumentStore({ bucket, root: 'marks/' }),
      now: Date.now,
    })
    const away = { redis: breaker, s3: bucket } as const
    return {
      blobs: withMarksLifted(blobs, marks),
      documents: softDocuments(documents),
      index: { ...index, changes, pending: softPending(createRedisPending({ redis: guarded })) },
      leases: createRedisLeases({ redis: guarded }),
      snapshots: createUseSnapshots({ documents, totals: createRedisUseTotals({ redis: guarded }) }),
      sweepable: {
        ...{ blobs, documents, marks, leftovers: hot.orphans },
        uploads: { ...bucket, prefix: blobRoot },
      },
      degraded: () => (['redis', 's3'] as const).filter((name) => !away[name].available),
      async close() {
        await Promise.race([blobs.settled(), sleep(endMs, undefined, { ref: false })])
        release()
      },
    }
  } catch (error) {
    release()
    throw error
  }
}

/**
 * Documents and index to work on as they are: what is away is an error. Throws BucketSettingsError, and
 * StoreUnavailableError where one cannot be reached.
 */
export async function openSharedIndex({
  redis,
  s3,
}: Pick<SharedStoresOptions, 'redis' | 's3'>): Promise<
  Pick<SharedStores, 'documents' | 'index'> & { readonly uses: UseTotals; close(): void }
> {
  const connection = connectToRedis(redis)
  const bucket = createBucket(s3)
  const close = () => {
    connection.close()
    bucket.close()
  }
  try {
    if (!(await connection.ready(startMs))) throw new StoreUnavailableError('Redis cannot be reached')
    if (!(await bucket.check())) throw new StoreUnavailableError('S3 cannot be reached')
    const index = createRedisIndexStore({ redis: connection })
    const uses = createRedisUseTotals({ redis: connection })
    return { documents: createS3DocumentStore({ bucket }), index, uses, close }
  } catch (error) {
    close()
    throw error
  }
}

function createRedisBreaker(
  connection: RedisConnection,
  onChange: (available: boolean, error: unknown) => void,
): Breaker {
  return createBreaker({
    name: 'Redis',
    // As a read, since a server may answer a PING that cannot read.
    probe: () => connection.send('HMGET', 'hw1:probe', 'v'),
    probeMs: redisMs,
    isTrouble: (error) => !(error instanceof RedisReplyError) || awayCodes.has(error.code),
    failuresToOpen: 1,
    onChange,
  })
}

/** What Redis says to everything. Others are about one command: a full memory, for one, hinders no reading. */
const awayCodes = new Set([
  ...['LOADING', 'BUSY', 'MASTERDOWN', 'CLUSTERDOWN', 'MOVED', 'ASK', 'TRYAGAIN'],
  ...['NOAUTH', 'WRONGPASS', 'NOPERM', 'UNBLOCKED'],
])
