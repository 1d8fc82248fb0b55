import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startBalancer } from './balancer.ts'
import { createFaultProxy, type FaultProxy } from './fault-proxy.ts'
import { type Headwater, startHeadwater, temporaryFolder } from './headwater.ts'
import { freePort, type RedisServer, startRedis } from './redis.ts'
import { type Resource, registryResource, upstreamResources } from './resources.ts'
import { type S3Server, startS3 } from './s3-server.ts'

/** One replica, with the ways between it and all that it shares with others. */
export interface Replica {
  readonly headwater: Headwater
  readonly ways: Readonly<Record<'internal' | 'redis' | 's3', FaultProxy>>
  /** Nothing passes any more between it and Redis, S3 and the other replicas; its clients and the upstream stay. */
  partition(): Promise<void>
  /** Only those who ask it are cut off: it goes on renewing. */
  hide(): Promise<void>
  lift(): Promise<void>
}

/** `headwater serve`, as many as it takes, over one Redis and one bucket. */
export interface Fleet {
  readonly redis: RedisServer
  readonly s3: S3Server
  readonly bucket: string
  readonly replicas: readonly Replica[]
  /** Of each replica. */
  readonly hosts: readonly string[]
  /** A port that leads to each replica in turn that says it is ready. */
  readonly balancer: string
  /** Everything in the bucket of which the name holds this. */
  objects(part: string): Promise<string[]>
  /** The same of one blob: one, once it is stored. */
  blobObjects(digest: string): Promise<string[]>
  /** The replica that holds a lease on this digest. */
  leader(digest: string): Promise<Replica | undefined>
  /** SIGTERM; when it has ended by itself, it is started again with what it has on disk. */
  restart(replica: Replica): Promise<Replica>
  /** In place of one that is gone. */
  replace(replica: Replica): Promise<Replica>
  /** As if nothing was ever cached, in Redis and in an empty bucket; with new replicas. */
  startAnew(): Promise<void>
  close(): Promise<void>
}

interface Running extends Replica {
  readonly internalUrl: string
  again(): Promise<Running>
  close(): Promise<void>
}

export interface FleetOptions {
  readonly size: number
  readonly upstream: string
  /** What the replica at this place is configured with, where that is not the registry `hub` over the upstream. */
  readonly resources?: (at: number) => readonly Resource[]
  /** Further ones of each replica. */
  readonly args?: readonly string[]
  /** Nothing stands in the ways, which cannot be faulted then: where it is measured how fast replicas are. */
  readonly hasDirectWays?: boolean
}

/** What a replica keeps when its process is another. */
interface Place {
  readonly at: number
  readonly internalPort: number
  readonly ways: Readonly<Record<'internal' | 'redis' | 's3', FaultProxy>>
  readonly data: string
}

export async function startFleet({
  size,
  upstream,
  resources,
  args = [],
  hasDirectWays = false,
}: FleetOptions): Promise<Fleet> {
  const wayTo = hasDirectWays ? directWay : createFaultProxy
  const folder = await mkdtemp(join(tmpdir(), 'headwater-fleet-'))
  const keyFile = join(folder, 'cluster-key')
  await writeFile(keyFile, `${randomBytes(32).toString('hex')}\n`)
  const redis = await startRedis()
  const s3 = await startS3()
  let bucket = await s3.makeBucket()
  let replicas: Running[] = []

  const usual = [...upstreamResources('up', { url: upstream }), registryResource('hub', ['up'])]

  async function startReplica(at: number, attempts = 3): Promise<Running> {
    const internalPort = await freePort()
    const ways = {
      internal: await wayTo(internalPort),
      redis: await wayTo(redis.port),
      s3: await wayTo(s3.port),
    }
    try {
      return await startWith({ at, internalPort, ways, data: await temporaryFolder() })
    } catch (error) {
      await Promise.all(Object.values(ways).map((way) => way.close()))
      // a port that was free may be taken before the replica listens
      if (attempts === 1 || !String(error).includes('another program listens')) throw error
      return startReplica(at, attempts - 1)
    }
  }

  async function startWith(place: Place): Promise<Running> {
    const { at, internalPort, ways, data } = place
    const internalUrl = `http://127.0.0.1:${ways.internal.port}`
    const headwater = await startHeadwater({
      resources: resources?.(at) ?? usual,
      data,
      args: [
        ...['--redis-url', `redis://127.0.0.1:${ways.redis.port}`, '--s3-bucket', bucket],
        ...['--s3-endpoint', `http://127.0.0.1:${ways.s3.port}`, '--cluster-key-file', keyFile],
        ...['--internal-listen', `127.0.0.1:${internalPort}`, '--internal-url', internalUrl],
        ...args,
      ],
      env: s3.credentials,
    })
    const all = Object.values(ways)
    return {
      headwater,
      ways,
      internalUrl,
      async partition() {
        await Promise.all(all.map((way) => way.set({ kind: 'stall' })))
      },
      hide: () => ways.internal.set({ kind: 'stall' }),
      async lift() {
        await Promise.all(all.map((way) => way.lift()))
      },
      again: () => startWith(place),
      async close() {
        headwater.signal('SIGCONT')
        await headwater.kill9().catch(() => {})
        await headwater.close().catch(() => {})
        for (const way of all) await way.close()
        await rm(data, { recursive: true, force: true })
      },
    }
  }

  async function objects(part: string): Promise<string[]> {
    const entries = await readdir(s3.folderOf(bucket), { recursive: true, withFileTypes: true })
    return entries
      .filter((entry) => entry.isFile() && join(entry.parentPath, entry.name).includes(part))
      .map((entry) => join(entry.parentPath, entry.name))
  }

  async function exchange(replica: Replica, start: (old: Running) => Promise<Running>): Promise<Running> {
    const old = replicas.find((one) => one === replica)!
    const next = await start(old)
    replicas = replicas.map((one) => (one === old ? next : one))
    return next
  }

  const startAll = async () => {
    replicas = await Promise.all(Array.from({ length: size }, (_, at) => startReplica(at)))
  }
  await startAll()
  const balancer = await startBalancer(() => replicas.map(({ headwater }) => headwater))

  return {
    redis,
    s3,
    get bucket() {
      return bucket
    },
    get replicas() {
      return replicas
    },
    get hosts() {
      return replicas.map(({ headwater }) => headwater.host)
    },
    balancer: balancer.host,

    objects,
    blobObjects: (digest) => objects(`/blobs/${digest.replace(':', '/').replace(/\/(..)/, '/$1/$1')}`),

    async leader(digest) {
      const [key] = (await redis.command('KEYS', `hw1:f:${digest}*`)).match(/hw1:f:[^\r]+/) ?? []
      const lease = key === undefined ? '' : await redis.command('HGET', key, 'l')
      return replicas.find(({ internalUrl }) => lease.includes(`"${internalUrl}"`))
    },

    async restart(replica) {
      const code = await replica.headwater.stop()
      if (code !== 0) throw new Error(`it ended with ${code}\n${replica.headwater.log()}`)
      return exchange(replica, (old) => old.again())
    },

    replace: (replica) =>
      exchange(replica, async (old) => {
        await old.close()
        return startReplica(replicas.indexOf(old))
      }),

    async startAnew() {
      for (const one of replicas) await one.close()
      await redis.command('FLUSHALL')
      bucket = await s3.makeBucket()
      await startAll()
    },

    async close() {
      for (const one of replicas) await one.close()
      await balancer.close()
      await s3.close()
      await redis.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function directWay(port: number): Promise<FaultProxy> {
  return {
    port,
    accepted: () => 0,
    open: () => 0,
    async set() {
      throw new Error('this way is direct')
    },
    async lift() {},
    async close() {},
  }
}
