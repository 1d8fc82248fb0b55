import { createHash } from 'node:crypto'
import type { UpstreamRoute } from '../../proxy/routes.ts'
import type { Upstream } from '../api/upstream.ts'
import type { Finding, Problem } from '../problem.ts'
import { type Address, hostsAlike, normaliseTokenHost, parseAddress } from './address.ts'
import { type Chosen, chooseCredentials } from './credentials.ts'
import { type Lookup, resolveTls, type Tls } from './tls.ts'

/** Of a route what the spec says by itself, without any other object. */
export type UpstreamDraft = Omit<UpstreamRoute, 'id' | 'origin' | 'credentials' | 'tls' | 'problem'>

export type CompiledUpstream =
  | { readonly route: UpstreamRoute; readonly problems: readonly [] }
  | {
      readonly route: undefined
      readonly problems: readonly Problem[]
      /** Undefined where the address is none. */
      readonly draft: UpstreamDraft | undefined
    }

/**
 * The route of an upstream. There is none while there is a problem: without its Secret even the account, and with it
 * the id of its cache, is unknown, and it is never anonymous instead.
 */
export function compileUpstream({ metadata, spec }: Upstream, lookup: Lookup): CompiledUpstream {
  const { namespace, name } = metadata
  const blame = (findings: readonly Finding[], draft?: UpstreamDraft) => ({
    route: undefined,
    problems: findings.map((finding) => ({ kind: 'Upstream' as const, namespace, name, ...finding })),
    draft,
  })

  const address = parseAddress(spec.url)
  if (address === undefined) {
    return blame([
      { path: ['spec', 'url'], reason: 'InvalidUrl', message: 'the host is neither a name nor an address' },
    ])
  }
  const draft = draftOf({ metadata, spec }, address)
  const tls = resolveTls(spec, lookup)
  const secretName = spec.credentialsSecretRef?.name
  const chosen: Chosen | undefined =
    secretName === undefined ? undefined : chooseCredentials(secretName, lookup.secret(secretName), address)
  if (chosen?.finding || tls.findings.length > 0) {
    return blame([...(chosen?.finding ? [chosen.finding] : []), ...tls.findings], draft)
  }

  const credentials = chosen?.credentials
  const account = credentials?.username ?? tls.subject ?? 'anonymous'
  return {
    route: {
      ...draft,
      id: upstreamId(namespace, name, address.url, account),
      origin: originOf(address, tls),
      ...(credentials === undefined ? {} : { credentials }),
      ...(tls.settings === undefined ? {} : { tls: tls.settings }),
    },
    problems: [],
  }
}

function draftOf({ metadata, spec }: Pick<Upstream, 'metadata' | 'spec'>, address: Address): UpstreamDraft {
  const { defaultRepositoryPrefix } = spec
  return {
    kind: 'Upstream',
    namespace: metadata.namespace,
    name: metadata.name,
    url: address.url,
    revalidation: spec.revalidation,
    ...(defaultRepositoryPrefix === undefined ? {} : { defaultRepositoryPrefix }),
    tokenServiceHosts: [...new Set(spec.tokenServiceHosts.map(normaliseTokenHost))],
    namespaceHosts: namespaceHostsOf(address, spec.mirrorOf),
    mode: spec.mode,
  }
}

/** Names the cache. Never made of a password, so that a rotated one keeps it. */
export function upstreamId(namespace: string, name: string, url: string, account: string): string {
  return hash([namespace, name, url, account])
}

/** Whom we believe to speak with: address and trust, but not who we are there, nor the path. */
function originOf({ scheme, hostname, port }: Address, { trusted }: Tls): string {
  return hash([scheme, hostname, port, trusted])
}

function namespaceHostsOf({ host }: Address, mirrorOf: readonly string[]): string[] {
  const hosts = [host, ...mirrorOf.map((other) => other.toLowerCase())]
  return [...new Set(hosts.flatMap(hostsAlike))]
}

function hash(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex')
}
