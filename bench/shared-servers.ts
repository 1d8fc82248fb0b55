import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort, type RedisServer } from '../test/rig/redis.ts'
import { type S3Server, s3AccessKey, s3SecretKey } from '../test/rig/s3-server.ts'
import { type Server, startDistribution, startHeadwater } from './servers.ts'

export interface Shared {
  readonly folder: string
  readonly redis: RedisServer
  readonly s3: S3Server
  readonly upstreamUrl: string
  started<T extends { stop(): Promise<void> }>(server: T): T
}

/** So many of Headwater over one Redis and one bucket, and one of them with next to no disk, so that it reads S3. */
export async function startReplicas(
  { folder, redis, s3, upstreamUrl, started }: Shared,
  count: number,
): Promise<{ replicas: readonly Server[]; diskless: Server }> {
  const bucket = await s3.makeBucket()
  const keyFile = join(folder, 'cluster-key')
  await writeFile(keyFile, `${randomBytes(32).toString('hex')}\n`)

  async function replica(name: string, further: readonly string[] = []): Promise<Server> {
    const internal = `127.0.0.1:${await freePort()}`
    return started(
      await startHeadwater(join(folder, name), upstreamUrl, {
        args: [
          ...['--redis-url', redis.url, '--s3-bucket', bucket, '--s3-endpoint', s3.endpoint],
          ...['--cluster-key-file', keyFile, '--internal-listen', internal],
          ...['--internal-url', `http://${internal}`, ...further],
        ],
        env: s3.credentials,
        redirects: true,
      }),
    )
  }

  const replicas: Server[] = []
  for (let at = 0; at < count; at++) replicas.push(await replica(`replica-${at}`))
  return { replicas, diskless: await replica('diskless', ['--spool-max-bytes', '16Mi']) }
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
