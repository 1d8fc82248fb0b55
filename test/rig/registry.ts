import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { stringify } from 'yaml'
import { type CertificateAuthority, createCertificateAuthority } from './certificates.ts'
import { htpasswdLine, needPart } from './parts.ts'
import { type RunningProcess, startProcess } from './process.ts'
import { startTokenServer, type TokenServer } from './token-server.ts'

export interface RegistryOptions {
  /** `v3` is distribution 3.1.2, `v2` Debian's 2.8.2. */
  readonly version?: 'v3' | 'v2'
  readonly auth?: 'none' | 'basic' | 'token'
  readonly tls?: boolean
  readonly username?: string
  readonly password?: string
  /** Makes it a pull-through cache of this URL. */
  readonly proxyOf?: string
  readonly listen?: string
}

/** A real registry with an empty, temporary store. */
export interface Registry {
  readonly url: string
  /** As in an image's name: `127.0.0.1:41234`, with tokens `localhost:41234`. */
  readonly host: string
  readonly pid: number
  readonly username: string | undefined
  readonly password: string | undefined
  /** The authority that signed its certificate, with TLS. */
  readonly authority: CertificateAuthority | undefined
  readonly tokens: TokenServer | undefined
  readonly folder: string
  log(): string
  /** How many times its access log tells of this method on a path that contains `text`. */
  requests(method: string, text?: string): number
  signal(signal: NodeJS.Signals): void
  /** Stops it and keeps store and port; `start` begins again with both. */
  stop(): Promise<void>
  start(): Promise<void>
  /** Stops it and deletes its store. */
  close(): Promise<void>
}

export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  const { version = 'v3', auth = 'none', tls = false } = options
  const { username = 'puller', password = 'canary-upstream-password' } = options
  const command = needPart(version === 'v3' ? 'registry' : 'docker-registry')
  const folder = await mkdtemp(join(tmpdir(), 'headwater-registry-'))
  const authority = tls || auth === 'token' ? await createCertificateAuthority() : undefined
  const server = tls ? await authority?.issue() : undefined
  const signer = auth === 'token' ? await authority?.issue({ commonName: 'token signer' }) : undefined
  const tokens = signer && (await startTokenServer({ keyPair: signer, tls: server, username, password }))
  if (auth === 'basic') await writeFile(join(folder, 'htpasswd'), await htpasswdLine(username, password))

  const configuration = (address: string) => ({
    version: '0.1',
    log: { level: 'info' },
    storage: { filesystem: { rootdirectory: join(folder, 'data') }, delete: { enabled: true } },
    http: {
      addr: address,
      secret: 'of a test',
      ...(server && { tls: { certificate: server.certFile, key: server.keyFile } }),
    },
    ...(auth === 'basic' && { auth: { htpasswd: { realm: 'test', path: join(folder, 'htpasswd') } } }),
    ...(tokens && {
      auth: {
        token: {
          ...{ realm: tokens.realm, service: tokens.service, issuer: tokens.issuer },
          rootcertbundle: authority?.caFile,
        },
      },
    }),
    ...(options.proxyOf && { proxy: { remoteurl: options.proxyOf } }),
  })

  let address = options.listen ?? '127.0.0.1:0'
  let running: RunningProcess
  const start = async (): Promise<void> => {
    await writeFile(join(folder, 'config.yml'), stringify(configuration(address)))
    running = await startProcess({
      command,
      args: ['serve', join(folder, 'config.yml')],
      env: { OTEL_TRACES_EXPORTER: 'none' },
      ready: /listening on (?<address>127\.[\d.]+:\d+)/,
    })
    address = running.ready.groups?.address ?? address
  }
  await start()

  // a plain realm is taken from the upstream's own host alone, so with tokens both go by the same name
  const host = tokens ? address.replace(/^127\.0\.0\.1:/, 'localhost:') : address
  return {
    url: `${tls ? 'https' : 'http'}://${host}`,
    host,
    get pid() {
      return running.pid
    },
    username: auth === 'none' ? undefined : username,
    password: auth === 'none' ? undefined : password,
    authority: tls ? authority : undefined,
    tokens,
    folder,
    log: () => running.log(),
    requests: (method, text = '') =>
      running
        .log()
        .split('\n')
        .filter((line) => line.includes(`] "${method} `) && line.includes(text)).length,
    signal: (signal) => running.signal(signal),
    async stop() {
      await running.stop()
    },
    start,
    async close() {
      await running.stop(2000)
      await tokens?.close()
      await rm(folder, { recursive: true, force: true })
      if (authority) await rm(dirname(authority.caFile), { recursive: true, force: true })
    },
  }
}
