import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createCertificateAuthority, type KeyPair } from './certificates.ts'
import { needPart } from './parts.ts'
import { startProcess } from './process.ts'
import { freePort, type RedisServer, redisCommand, startRedis } from './redis.ts'

/** Real Redis servers in one of the forms that `--redis-url` names. */
export interface RedisForm {
  readonly url: string
  /** Every one that holds keys. */
  readonly servers: readonly RedisServer[]
  flush(): Promise<void>
  close(): Promise<void>
}

/** A master and its replica, and one sentinel that watches them and makes the replica the master within two seconds. */
export async function startSentinel(): Promise<RedisForm & { masterPort(): Promise<number> }> {
  const folder = await mkdtemp(join(tmpdir(), 'headwater-sentinel-'))
  const master = await startRedis()
  const replica = await startRedis(['--replicaof', '127.0.0.1', String(master.port)])
  const port = await freePort()
  const file = join(folder, 'sentinel.conf')
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${folder}`,
    `sentinel monitor main 127.0.0.1 ${master.port} 1`,
    'sentinel down-after-milliseconds main 500',
    'sentinel failover-timeout main 2000',
  ]
  await writeFile(file, `${lines.join('\n')}\n`)
  const args = [file, '--sentinel']
  const sentinel = await startProcess({ command: needPart('redis-server'), args, ready: /\+monitor master/ })
  await until(async () => (await redisCommand(port, ['INFO', 'sentinel'])).includes('slaves=1'))

  async function masterPort(): Promise<number> {
    const reply = await redisCommand(port, ['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'main'])
    return Number(/\$\d+\r\n(\d+)\r\n$/.exec(reply)?.[1])
  }

  return {
    url: `redis-sentinel://127.0.0.1:${port}/main`,
    servers: [master, replica],
    masterPort,
    async flush() {
      await redisCommand(await masterPort(), ['FLUSHALL'])
    },
    async close() {
      await sentinel.kill9()
      await Promise.all([master.close(), replica.close()])
      await rm(folder, { recursive: true, force: true })
    },
  }
}

const slots = 16_384

/** Three masters without replicas that share all slots. */
export async function startCluster(): Promise<RedisForm> {
  const buses = await Promise.all([0, 1, 2].map(freePort))
  const servers = await Promise.all(
    buses.map((bus) => {
      const options = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '1000']
      return startRedis([...options, '--cluster-port', String(bus)])
    }),
  )
  const share = Math.ceil(slots / servers.length)
  for (const [at, server] of servers.entries()) {
    const last = Math.min(slots, (at + 1) * share) - 1
    await server.command('CLUSTER', 'ADDSLOTSRANGE', String(at * share), String(last))
    await server.command('CLUSTER', 'SET-CONFIG-EPOCH', String(at + 1))
    const [first, bus] = [servers[0]!.port, buses[0]!].map(String) as [string, string]
    if (at > 0) await server.command('CLUSTER', 'MEET', '127.0.0.1', first, bus)
  }
  const isWhole = async (server: RedisServer) => {
    const info = await server.command('CLUSTER', 'INFO')
    return info.includes('cluster_state:ok') && info.includes('cluster_known_nodes:3')
  }
  await until(async () => (await Promise.all(servers.map(isWhole))).every(Boolean))

  return {
    url: `redis-cluster://${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    servers,
    async flush() {
      await Promise.all(servers.map((server) => server.command('FLUSHALL')))
    },
    async close() {
      await Promise.all(servers.map((server) => server.close()))
    },
  }
}

/** One server that also speaks TLS, with a certificate of an authority of its own. */
export async function startTlsRedis(): Promise<
  RedisForm & { readonly ca: string; readonly caFile: string; readonly port: number; renew(): Promise<void> }
> {
  const authority = await createCertificateAuthority()
  const port = await freePort()
  const files = ({ certFile, keyFile }: KeyPair) => ['tls-cert-file', certFile, 'tls-key-file', keyFile]
  const [certName, cert, keyName, key] = files(await authority.issue()) as [string, string, string, string]
  const server = await startRedis([
    ...['--tls-port', String(port), '--tls-auth-clients', 'no'],
    ...[`--${certName}`, cert, `--${keyName}`, key],
  ])

  return {
    url: `rediss://127.0.0.1:${port}`,
    servers: [server],
    port,
    ca: authority.ca,
    caFile: authority.caFile,
    /** Another certificate of the same authority, for connections that are made from now on. */
    async renew() {
      const reply = await server.command('CONFIG', 'SET', ...files(await authority.issue()))
      if (!reply.startsWith('+OK')) throw new Error(reply)
    },
    async flush() {
      await server.command('FLUSHALL')
    },
    close: () => server.close(),
  }
}

async function until(isSo: () => Promise<boolean>, ms = 20_000): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(100)) if (await isSo()) return
  throw new Error(`not so after ${ms} ms`)
}
