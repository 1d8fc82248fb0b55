import { parseRange } from '../proxy/upstream/address-policy.ts'
import { type Flag, type FlagValues, UsageError } from './flags.ts'
import { clusterKeyFlag, internalListenFlag, internalUrlFlag } from './internal-flags.ts'
import { type InternalSettings, readInternalSettings } from './internal-settings.ts'
import { parseBaseUrl, readSharedSettings, type SharedSettings, sharedFlags } from './shared-settings.ts'
import { parseBytes } from './sizes.ts'

export const serveFlags: readonly Flag[] = [
  {
    name: 'config',
    value: 'FILE|DIR',
    repeatable: true,
    default: 'examples/standalone.yaml',
    help: 'where the VirtualRegistry, Upstream, Secret and ConfigMap resources are; edits are picked up',
  },
  { name: 'data', value: 'DIR', default: '.headwater', help: 'where the cache is kept' },
  {
    name: 'data-max-bytes',
    value: 'BYTES',
    help: 'the most the cache may take on the disk, as a number or with Ki, Mi, Gi or Ti; blobs go, the least recently used first',
  },
  ...sharedFlags,
  clusterKeyFlag,
  internalListenFlag,
  internalUrlFlag,
  { name: 'listen', value: 'HOST:PORT', default: '127.0.0.1:5050', help: 'where clients pull from' },
  {
    name: 'admin-listen',
    value: 'HOST:PORT',
    default: '127.0.0.1:5051',
    help: 'where /livez, /readyz and /metrics are',
  },
  {
    name: 'external-url',
    value: 'URL',
    help: 'where clients reach it, such as https://registry.example.com; for what it says of itself at the start',
  },
  {
    name: 'allow-anonymous',
    help: 'lets it listen beyond loopback although anybody who reaches it may then pull what the rules give to Anonymous',
  },
  { name: 'deny-upstream-cidr', value: 'CIDR', repeatable: true, help: 'addresses no upstream may have' },
  {
    name: 'allow-upstream-cidr',
    value: 'CIDR',
    repeatable: true,
    help: 'addresses upstreams may have all the same; counts where it lies within what is denied',
  },
  {
    name: 'drain-delay-seconds',
    value: 'SECONDS',
    default: '0',
    help: 'how long new connections are still taken after SIGTERM: until those who lead clients here have seen /readyz say no',
  },
  {
    name: 'drain-seconds',
    value: 'SECONDS',
    default: '30',
    help: 'how long running streams may go on after that',
  },
  { name: 'log-level', value: 'debug|info|warn|error', default: 'info', help: 'the least that is logged' },
  {
    name: 'log-format',
    value: 'json|pretty',
    help: 'how it is logged; without it pretty on a terminal and json otherwise',
  },
]

export interface ServeSettings {
  readonly config: readonly string[]
  readonly data: string
  readonly dataMaxBytes: number | undefined
  /** Undefined where the cache is this machine's own. */
  readonly shared: SharedSettings | undefined
  /** Undefined where nobody asks this process but clients. */
  readonly internal: InternalSettings | undefined
  readonly listen: Address
  readonly adminListen: Address
  /** Scheme, host and port; undefined where clients reach it as it listens, as far as is known. */
  readonly externalUrl: string | undefined
  readonly denyUpstreamCidrs: readonly string[]
  /** What else is denied now. */
  readonly denyUpstreamsNow?: () => readonly string[]
  readonly allowUpstreamCidrs: readonly string[]
  readonly drainDelaySeconds: number
  readonly drainSeconds: number
  readonly logLevel: LogLevel
  /** Undefined when not said. */
  readonly logFormat: 'json' | 'pretty' | undefined
}

export interface Address {
  readonly host: string
  readonly port: number
}

export const expectedExternalUrl = 'a URL with http:// or https:// and nothing after its host and port'

const logLevels = ['debug', 'info', 'warn', 'error'] as const
type LogLevel = (typeof logLevels)[number]

/** Throws UsageError with every problem. */
export function readServeSettings(values: FlagValues): ServeSettings {
  const problems: string[] = []
  const one = (name: string) => values.get(name)?.at(-1)
  const check = <T>(
    name: string,
    parse: (text: string) => T | undefined,
    expected: string,
  ): T | undefined => {
    const text = one(name)
    if (text === undefined) return undefined
    const parsed = parse(text)
    if (parsed === undefined) problems.push(`--${name}: ${JSON.stringify(text)} is not ${expected}`)
    return parsed
  }

  const listen = check('listen', parseAddress, 'HOST:PORT, such as 127.0.0.1:5050')
  const adminListen = check('admin-listen', parseAddress, 'HOST:PORT, such as 127.0.0.1:5051')
  const externalUrl = check('external-url', parseBaseUrl, expectedExternalUrl)
  const dataMaxBytes = check('data-max-bytes', parseBytes, 'a number of bytes of at least 16Mi, such as 50Gi')
  const drainDelaySeconds = check('drain-delay-seconds', parseSeconds, 'a number of seconds from 0 to 3600')
  const drainSeconds = check('drain-seconds', parseSeconds, 'a number of seconds from 0 to 3600')
  const logLevel = check(
    'log-level',
    (text) => logLevels.find((level) => level === text),
    `one of ${logLevels.join(', ')}`,
  )
  const logFormat = check(
    'log-format',
    (text) => (text === 'json' || text === 'pretty' ? text : undefined),
    'json or pretty',
  )
  const denyUpstreamCidrs = cidrs('deny-upstream-cidr', values, problems)
  const allowUpstreamCidrs = cidrs('allow-upstream-cidr', values, problems)
  if (listen && !isLoopback(listen.host) && one('allow-anonymous') !== 'true') {
    problems.push(
      `--listen: ${listen.host} can be reached from other machines, and there are no logins yet: add --allow-anonymous if everybody who reaches it may pull`,
    )
  }
  const internal = readInternalSettings(values, problems)
  const shared = readSharedSettings(values, one('data')!, problems)
  if (shared && dataMaxBytes !== undefined)
    problems.push('--data-max-bytes: the cache is in S3 and Redis; --spool-max-bytes bounds what is here')
  if (problems.length > 0) throw new UsageError(problems)
  return {
    config: values.get('config') ?? [],
    data: one('data')!,
    dataMaxBytes,
    shared,
    internal,
    listen: listen!,
    adminListen: adminListen!,
    externalUrl,
    denyUpstreamCidrs,
    allowUpstreamCidrs,
    drainDelaySeconds: drainDelaySeconds!,
    drainSeconds: drainSeconds!,
    logLevel: logLevel!,
    logFormat,
  }
}

/** `[::1]:5050`, `127.0.0.1:5050` or `localhost:0`. */
export function parseAddress(text: string): Address | undefined {
  const { six, host, port } =
    /^(?:\[(?<six>[0-9a-fA-F:.]+)\]|(?<host>[A-Za-z0-9.-]+)):(?<port>\d{1,5})$/.exec(text)?.groups ?? {}
  const number = Number(port)
  return port !== undefined && number <= 65535 ? { host: (six ?? host)!, port: number } : undefined
}

function parseSeconds(text: string): number | undefined {
  const seconds = Number(text)
  return /^\d{1,4}$/.test(text) && seconds <= 3600 ? seconds : undefined
}

function cidrs(name: string, values: FlagValues, problems: string[]): readonly string[] {
  const given = values.get(name) ?? []
  for (const text of given) {
    if (!text.includes('/') || !parseRange(text))
      problems.push(`--${name}: ${JSON.stringify(text)} is not a CIDR, such as 10.0.0.0/8`)
  }
  return given
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}
