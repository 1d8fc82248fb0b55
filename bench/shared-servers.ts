import { join } from 'node:path'
import { freePort, type RedisServer } from '../test/rig/redis.ts'
import { type S3Server, s3AccessKey, s3SecretKey } from '../test/rig/s3-server.ts'
import { type Server, startDistribution, startHeadwater } from './servers.ts'

export interface Shared {
  readonly folder: string
  readonly redis: RedisServer
  readonly s3: S3Server
  /** Of the replicas, as is the key. */
  readonly bucket: string
  readonly clusterKeyFile: string
  readonly upstreamUrl: string
  started<T extends { stop(): Promise<void> }>(server: T): T
}

/** As many of Headwater over one Redis and one bucket as there are lists of further flags. */
export async function startReplicas(
  { folder, redis, s3, bucket, clusterKeyFile, upstreamUrl, started }: Shared,
  furtherFlags: readonly (readonly string[])[],
): Promise<readonly Server[]> {
  const replicas: Server[] = []
  for (const [at, further] of furtherFlags.entries()) {
    const internal = `127.0.0.1:${await freePort()}`
    const server = await startHeadwater(join(folder, `replica-${at}`), upstreamUrl, {
      args: [
        ...['--redis-url', redis.url, '--s3-bucket', bucket, '--s3-endpoint', s3.endpoint],
        ...['--cluster-key-file', clusterKeyFile, '--internal-listen', internal],
        ...['--internal-url', `http://${internal}`, ...further],
      ],
      env: s3.credentials,
      redirects: true,
    })
    replicas.push(started(server))
  }
  return replicas
}

/** distribution as a pull-through cache over the same S3 and Redis: once as a proxy of the bytes, once with redirects. */
export async function startSharedDistributions({
  folder,
  redis,
  s3,
  upstreamUrl,
  started,
}: Shared): Promise<{ proxied: Server; redirecting: Server }> {
  const bucket = await s3.makeBucket()
  const storage = {
    s3: {
      ...{ accesskey: s3AccessKey, secretkey: s3SecretKey, region: 'us-east-1', bucket },
      ...{ regionendpoint: s3.endpoint, forcepathstyle: true, secure: false },
    },
    cache: { blobdescriptor: 'redis' },
  }
  const start = async (name: string, disable: boolean) =>
    started(
      await startDistribution(join(folder, name), {
        proxyOf: upstreamUrl,
        configuration: {
          storage: { ...storage, redirect: { disable } },
          redis: { addrs: [`127.0.0.1:${redis.port}`] },
        },
      }),
    )
  return { proxied: await start('distribution', true), redirecting: await start('redirecting', false) }
}
