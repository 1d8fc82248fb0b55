import { afterAll, beforeAll, vi } from 'vitest'
import { parseRedisAddress } from '../../proxy/store/redis-address.ts'
import { openSharedStores, type SharedStores } from '../../proxy/store/shared-stores.ts'
import { type RedisServer, startRedis } from './redis.ts'
import { type S3Server, startS3 } from './s3-server.ts'

export interface SharedServers {
  readonly redis: RedisServer
  readonly s3: S3Server
  /** The stores of a replica over both, in this process. The caller closes them. */
  open(place: {
    bucket: string
    folder: string
    observer: Parameters<typeof openSharedStores>[0]['observer']
  }): Promise<SharedStores>
}

/** A Redis and an S3 for all tests of a `describe`, with the credentials for S3 in this process's environment. */
export function useSharedServers(): SharedServers {
  let redis: RedisServer
  let s3: S3Server
  beforeAll(async () => {
    redis = await startRedis()
    s3 = await startS3()
    for (const [name, value] of Object.entries(s3.credentials)) vi.stubEnv(name, value)
  })
  afterAll(async () => {
    vi.unstubAllEnvs()
    await s3?.close()
    await redis?.close()
  })

  return {
    get redis() {
      return redis
    },
    get s3() {
      return s3
    },
    async open({ bucket, folder, observer }) {
      return openSharedStores({
        redis: parseRedisAddress(redis.url)!,
        s3: { bucket, endpoint: s3.endpoint, redirectEndpoint: undefined, region: undefined },
        spool: { folder, maxBytes: undefined },
        observer,
      })
    },
  }
}
