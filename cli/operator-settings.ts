import {
  type Grant,
  type Grants,
  parseHostGrant,
  parsePathGrant,
} from '../operator/virtual-registry/grants.ts'
import { type ClusterSettings, isNamespace, orUsageError, readClusterSettings } from './cluster-settings.ts'
import type { FlagValues } from './flags.ts'
import { readClusterKeys } from './internal-settings.ts'
import { type Address, expectedExternalUrl, parseAddress } from './serve-settings.ts'
import { parseBaseUrl } from './shared-settings.ts'

const logLevels = ['debug', 'info', 'warn', 'error'] as const

export interface OperatorSettings extends ClusterSettings {
  /** Empty for all. */
  readonly watchNamespaces: readonly string[]
  readonly grants: Grants
  readonly proxies: ProxiesSettings | undefined
  readonly externalUrl: string | undefined
  readonly adminListen: Address
  readonly logLevel: (typeof logLevels)[number]
  /** Undefined when not said. */
  readonly logFormat: 'json' | 'pretty' | undefined
}

/** How the proxies are asked; without it they are not. */
export interface ProxiesSettings {
  /** Of a Service in the installation's namespace. */
  readonly service: string | undefined
  readonly urls: readonly string[]
  readonly keys: readonly string[]
}

/** Throws UsageError with every problem. */
export function readOperatorSettings(values: FlagValues, environment: NodeJS.ProcessEnv): OperatorSettings {
  const problems: string[] = []
  const check = <T>(
    name: string,
    parse: (text: string) => T | undefined,
    expected: string,
  ): T | undefined => {
    const text = values.get(name)?.at(-1)
    const parsed = text === undefined ? undefined : parse(text)
    if (text !== undefined && parsed === undefined) {
      problems.push(`--${name}: ${JSON.stringify(text)} is not ${expected}`)
    }
    return parsed
  }
  const checkAll = <T>(name: string, parse: (text: string) => T | undefined, expected: string): T[] =>
    (values.get(name) ?? []).flatMap((text) => {
      const parsed = parse(text)
      if (parsed !== undefined) return [parsed]
      problems.push(`--${name}: ${JSON.stringify(text)} is not ${expected}`)
      return []
    })
  const paths: Grant[] = checkAll('grant-path', parsePathGrant, 'NS=PREFIX, such as team-a=shared/images')
  const hosts: Grant[] = checkAll(
    'grant-host',
    parseHostGrant,
    'NS=PATTERN, such as team-a=*.team-a.example.com',
  )

  const settings = {
    ...readClusterSettings(values, environment, problems),
    watchNamespaces: checkAll(
      'watch-namespace',
      (text) => (isNamespace(text) ? text : undefined),
      'the name of a namespace',
    ),
    grants: { paths, hosts },
    proxies: readProxies(values, problems),
    externalUrl: check('external-url', parseBaseUrl, expectedExternalUrl),
    adminListen: check('admin-listen', parseAddress, 'HOST:PORT, such as 127.0.0.1:5052')!,
    logLevel: check('log-level', (text) => logLevels.find((level) => level === text), logLevels.join(', '))!,
    logFormat: check(
      'log-format',
      (text): 'json' | 'pretty' | undefined => (text === 'json' || text === 'pretty' ? text : undefined),
      'json or pretty',
    ),
  }
  return orUsageError(settings, problems)
}

function readProxies(values: FlagValues, problems: string[]): ProxiesSettings | undefined {
  const service = values.get('proxy-service')?.at(-1)
  const given = values.get('proxy-endpoint') ?? []
  const urls = given.flatMap((text) => parseBaseUrl(text) ?? [])
  if (service !== undefined && !isNamespace(service)) {
    problems.push(`--proxy-service: ${JSON.stringify(service)} is not the name of a Service`)
  }
  if (urls.length < given.length) {
    problems.push(
      '--proxy-endpoint: expected a URL with http:// or https:// and nothing after its host and port',
    )
  }
  const keys = readClusterKeys(values, problems)
  if (service === undefined && given.length === 0) return undefined
  if (values.get('cluster-key-file') === undefined) {
    problems.push('--cluster-key-file: is needed with --proxy-service and --proxy-endpoint')
  }
  return { service, urls, keys: keys ?? [] }
}
