import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { stringify } from 'yaml'
import { blobKey } from '../proxy/store/blob-store.ts'
import { needPart } from '../test/rig/parts.ts'
import { registryResource, toYaml, upstreamResources } from '../test/rig/resources.ts'
import type { Sample } from './sample.ts'

export type ServerName = 'headwater' | 'distribution' | 'nginx'

export interface Server {
  readonly url: string
  /** Of the process that serves. */
  readonly pid: number
  stop(): Promise<void>
}

export type Servers = Readonly<Record<ServerName, Server>>

/** A program whose output goes to a file, as in production: nobody's time is spent on reading it. */
async function startLogged(
  command: string,
  args: readonly string[],
  { log, ready, env = {} }: { log: string; ready: RegExp; env?: Record<string, string> },
): Promise<{ match: RegExpExecArray; pid: number; stop(): Promise<void> }> {
  const output = openSync(log, 'a')
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', output, output] })
  closeSync(output)
  const exited = new Promise<void>((resolve) => {
    child.once('close', () => resolve())
    child.once('error', () => resolve())
  })
  const stop = async () => {
    child.kill('SIGTERM')
    await exited
  }
  for (let waited = 0; waited < 30_000; waited += 50) {
    await sleep(50)
    const text = await readFile(log, 'utf8')
    const match = ready.exec(text)
    if (match && child.pid !== undefined) return { match, pid: child.pid, stop }
    if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}\n${text}`)
  }
  await stop()
  throw new Error(`${command} is not ready\n${await readFile(log, 'utf8')}`)
}

export function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'headwater-bench-'))
}

export function removeFolder(folder: string): Promise<void> {
  return rm(folder, { recursive: true, force: true })
}

export interface DistributionOptions {
  /** Makes it a pull-through cache of this URL. */
  readonly proxyOf?: string
  /** Anything else of its configuration than files in its folder. */
  readonly configuration?: Readonly<Record<string, unknown>>
}

/** distribution: a plain registry, or a pull-through cache. Its access log is on, as it is by default. */
export async function startDistribution(
  folder: string,
  { proxyOf, configuration: given = {} }: DistributionOptions = {},
): Promise<Server> {
  await mkdir(folder, { recursive: true })
  const file = join(folder, 'config.yml')
  const configuration = {
    version: '0.1',
    log: { level: 'info' },
    storage: { filesystem: { rootdirectory: join(folder, 'data') } },
    http: { addr: '127.0.0.1:0', secret: 'of a benchmark' },
    ...(proxyOf && { proxy: { remoteurl: proxyOf } }),
    ...given,
  }
  await writeFile(file, stringify(configuration))
  const { match, pid, stop } = await startLogged(needPart('registry'), ['serve', file], {
    log: join(folder, 'output.log'),
    ready: /listening on (?<address>127\.[\d.]+:\d+)/,
    env: { OTEL_TRACES_EXPORTER: 'none' },
  })
  return { url: `http://${match.groups!.address}`, pid, stop }
}

export interface HeadwaterOptions {
  readonly nodeFlags?: readonly string[]
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** There is also `r`, the same with blobs from S3. */
  readonly redirects?: boolean
}

/** Headwater as `npm start` runs it; only ports, folder and configuration are its own: the registry `a`. */
export async function startHeadwater(
  folder: string,
  upstreamUrl: string,
  { nodeFlags = [], args = [], env = {}, redirects = false }: HeadwaterOptions = {},
): Promise<Server> {
  await mkdir(folder, { recursive: true })
  const config = join(folder, 'config.yaml')
  const registry = (namespace: string, spec = {}) => [
    ...upstreamResources('upstream', { url: upstreamUrl, namespace }),
    registryResource(namespace, ['upstream'], { namespace, spec: { path: namespace, ...spec } }),
  ]
  const redirecting = redirects ? registry('r', { blobDelivery: 'Redirect' }) : []
  await writeFile(config, toYaml([...registry('a'), ...redirecting]))
  const { match, pid, stop } = await startLogged(
    process.execPath,
    [
      ...[...nodeFlags, 'cli/main.ts', 'serve', '--config', config, '--data', dataOf(folder)],
      ...['--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'],
      ...args,
    ],
    { log: join(folder, 'output.log'), ready: /listening on (?<url>http:\/\/127\.[\d.]+:\d+)/, env },
  )
  return { url: match.groups!.url!, pid, stop }
}

export function dataOf(folder: string): string {
  return join(folder, 'data')
}

/** nginx with one worker over the very files that Headwater has stored, at the same paths. */
export async function startNginx(folder: string, data: string, sample: Sample): Promise<Server> {
  await mkdir(folder, { recursive: true })
  const port = await freePort()
  const pidFile = join(folder, 'nginx.pid')
  const conf = join(folder, 'nginx.conf')
  await writeFile(conf, nginxConfiguration({ folder, pidFile, port, locations: locationsOf(data, sample) }))
  const running = await startLogged(needPart('nginx'), ['-p', folder, '-c', conf, '-e', 'stderr'], {
    log: join(folder, 'output.log'),
    ready: /start worker process \d+/,
  })
  const children = await readFile(`/proc/${running.pid}/task/${running.pid}/children`, 'utf8')
  return { url: `http://127.0.0.1:${port}`, pid: Number(children.trim().split(' ')[0]), stop: running.stop }
}

function locationsOf(data: string, { manifest, blobs, names, tag }: Sample): string[] {
  const location = (path: string, digest: typeof manifest.digest, type: string): string =>
    `location = /v2/${names.nginx}/${path} {
      alias ${join(data, 'blobs', blobKey(digest))};
      default_type ${type};
      add_header Docker-Content-Digest ${digest};
    }`
  const octets = 'application/octet-stream'
  return [
    location(`manifests/${tag}`, manifest.digest, manifest.mediaType),
    ...[blobs.small, blobs.large].map(({ digest }) => location(`blobs/${digest}`, digest, octets)),
  ]
}

function nginxConfiguration(values: {
  folder: string
  pidFile: string
  port: number
  locations: readonly string[]
}): string {
  const { folder, pidFile, port, locations } = values
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `
user root;
worker_processes 1;
daemon off;
pid ${pidFile};
error_log stderr notice;
events { worker_connections 1024; }
http {
  ${temporary.map((name) => `${name}_temp_path ${join(folder, name)};`).join('\n  ')}
  sendfile on;
  keepalive_requests 1000000000;
  open_file_cache max=100;
  open_file_cache_valid 1h;
  access_log ${join(folder, 'access.log')} combined buffer=64k flush=1s;
  server {
    listen 127.0.0.1:${port};
    ${locations.join('\n    ')}
  }
}
`
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
