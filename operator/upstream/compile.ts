import { createHash } from 'node:crypto'
import type { UpstreamRoute } from '../../proxy/routes.ts'
import type { Upstream } from '../api/upstream.ts'
import type { Finding, Problem } from '../problem.ts'
import { type Address, hostsAlike, normaliseTokenHost, parseAddress } from './address.ts'
import { type Chosen, chooseCredentials } from './credentials.ts'
import { type Lookup, resolveTls, type Tls } from './tls.ts'

export type CompiledUpstream =
  | { readonly route: UpstreamRoute; readonly problems: readonly [] }
  | { readonly route: undefined; readonly problems: readonly Problem[] }

/**
 * The route of an upstream. There is none while there is a problem: without its Secret even the account, and with it
 * the id of its cache, is unknown, and it is never anonymous instead.
 */
export function compileUpstream({ metadata, spec }: Upstream, lookup: Lookup): CompiledUpstream {
  const { namespace, name } = metadata
  const blame = (findings: readonly Finding[]) => ({
    route: undefined,
    problems: findings.map((finding) => ({ kind: 'Upstream' as const, namespace, name, ...finding })),
  })

  const address = parseAddress(spec.url)
  if (address === undefined) {
    return blame([
      { path: ['spec', 'url'], reason: 'InvalidUrl', message: 'the host is neither a name nor an address' },
    ])
  }
  const tls = resolveTls(spec, lookup)
  const secretName = spec.credentialsSecretRef?.name
  const chosen: Chosen | undefined =
    secretName === undefined ? undefined : chooseCredentials(secretName, lookup.secret(secretName), address)
  if (chosen?.finding || tls.findings.length > 0) {
    return blame([...(chosen?.finding ? [chosen.finding] : []), ...tls.findings])
  }

  const credentials = chosen?.credentials
  const account = credentials?.username ?? tls.subject ?? 'anonymous'
  const { defaultRepositoryPrefix } = spec
  return {
    route: {
      kind: 'Upstream',
      namespace,
      name,
      id: upstreamId(namespace, name, address.url, account),
      origin: originOf(address, tls),
      url: address.url,
      ...(credentials === undefined ? {} : { credentials }),
      ...(tls.settings === undefined ? {} : { tls: tls.settings }),
      revalidation: spec.revalidation,
      ...(defaultRepositoryPrefix === undefined ? {} : { defaultRepositoryPrefix }),
      tokenServiceHosts: [...new Set(spec.tokenServiceHosts.map(normaliseTokenHost))],
      namespaceHosts: namespaceHostsOf(address, spec.mirrorOf),
      mode: spec.mode,
    },
    problems: [],
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
