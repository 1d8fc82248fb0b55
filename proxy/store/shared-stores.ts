import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Observer } from '../observer.ts'
import type { BlobStore } from './blob-store.ts'
import { StoreUnavailableError } from './breaker.ts'
import { createDeletionMarks, withMarksLifted } from './deletion-marks.ts'
import { createDiskBudget } from './disk-budget.ts'
import type { DocumentStore } from './document-store.ts'
import { makeRoot } from './durability.ts'
import { createFileBlobStore } from './file-blob-store.ts'
import { lockFolder } from './folder-lock.ts'
import { guardRedis } from './guarded-redis.ts'
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

const startMs = 2_000
/** To an answer of S3 that no client waits for. */
const unhurriedMs = 10_000
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
  const guarded = guardRedis(connection, (available, error) => {
    observer.storeAvailable('redis', available, error)
    if (available) void index.catchUp().catch((problem) => observer.storeFailure('index.catchUp', problem))
  })
  const bucket = createBucket({
    ...s3,
    onChange: (available, error) => observer.storeAvailable('s3', available, error),
  })
  const changes = createRedisChanges({
    redis: guarded,
    subscribe: (options) => subscribeToRedis(redis, options),
  })
  const index = createSoftIndex(createRedisIndexStore({ redis: guarded }), changes.announce)

  function release(): void {
    changes.close()
    guarded.close()
    connection.close()
    bucket.close()
    unlock()
  }

  try {
    const budget = createDiskBudget({ maxBytes: spool.maxBytes })
    const hot = await createFileBlobStore({ root: join(root, 'blobs'), budget, observer })
    const [connected] = await Promise.all([connection.ready(startMs), bucket.check()])
    if (!connected) guarded.open(new Error(unreached(connection)))
    const blobs = createS3BlobStore({ bucket, hot, observer })
    const documents = createS3DocumentStore({ bucket })
    const marks = createDeletionMarks({
      documents: createS3DocumentStore({ bucket, root: 'marks/' }),
      now: Date.now,
    })
    const away = { redis: guarded, s3: bucket } as const
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
  let whyAway: unknown
  const bucket = createBucket({
    ...s3,
    limits: { answerMs: unhurriedMs },
    onChange(_, error) {
      whyAway = error
    },
  })
  const close = () => {
    connection.close()
    bucket.close()
  }
  try {
    if (!(await connection.ready(startMs))) throw new StoreUnavailableError(unreached(connection))
    if (!(await bucket.check())) throw new StoreUnavailableError((whyAway as Error).message)
    const told = { send: tellRefusals(connection) }
    const index = createRedisIndexStore({ redis: told })
    const uses = createRedisUseTotals({ redis: told })
    return { documents: createS3DocumentStore({ bucket }), index, uses, close }
  } catch (error) {
    close()
    throw error
  }
}

function unreached(connection: Pick<RedisConnection, 'trouble'>): string {
  return `Redis cannot be reached: ${connection.trouble() ?? `no answer after ${startMs} ms`}`
}

/** For whoever can do without no answer. */
function tellRefusals(connection: RedisConnection): RedisConnection['send'] {
  return (...command) =>
    connection.send(...command).catch((error: unknown) => {
      const isReply = error instanceof RedisReplyError
      if (isReply && error.code === 'WRONGTYPE') throw error
      const what = isReply ? 'Redis refuses' : 'Redis does not answer'
      throw new StoreUnavailableError(`${what}: ${(error as Error).message}`, { cause: error })
    })
}
