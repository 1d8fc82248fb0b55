import { isIP } from 'node:net'
import { parse } from 'tldts'

const longestRealm = 2048

/**
 * The URL a token may be asked for at, or undefined when the realm is not one: it is named by whoever answers, so with
 * or without credentials it is followed only to the upstream's own host, to a host of the same registrable domain, or
 * to one of `tokenServiceHosts`; over https, or as plain as the upstream itself on its own host. On an IP address or
 * `localhost` "own host" includes the port: there other ports are other people's.
 */
export function allowedRealm(
  realm: string,
  { base, tokenServiceHosts }: { base: URL; tokenServiceHosts: readonly string[] },
): URL | undefined {
  const url = realm.length <= longestRealm && URL.canParse(realm) ? new URL(realm) : undefined
  if (url === undefined) return undefined
  if (url.username !== '' || url.password !== '' || url.hostname.endsWith('.')) return undefined
  if (url.protocol === 'http:') {
    if (base.protocol !== 'http:' || url.hostname !== base.hostname) return undefined
  } else if (url.protocol !== 'https:') return undefined

  const listed = tokenServiceHosts.some((host) => authorityOf(url) === withPort(host.toLowerCase(), url))
  return listed || isOfTheUpstream(url, base) ? url : undefined
}

function isOfTheUpstream(url: URL, base: URL): boolean {
  if (authorityOf(url) === authorityOf(base)) return true
  if (isLocal(url.hostname) || isLocal(base.hostname)) return false
  if (url.hostname === base.hostname) return true
  const domain = registrableDomain(base.hostname)
  return domain !== undefined && domain === registrableDomain(url.hostname)
}

/** Undefined below a suffix nobody knows: in a cluster, all services would be of one domain `cluster.local`. */
function registrableDomain(hostname: string): string | undefined {
  const { domain, isIcann, isPrivate } = parse(hostname, { allowPrivateDomains: true })
  return (isIcann || isPrivate) && domain !== null ? domain : undefined
}

function isLocal(hostname: string): boolean {
  const bare = hostname.replace(/^\[|\]$/g, '')
  return isIP(bare) !== 0 || bare === 'localhost' || bare.endsWith('.localhost')
}

function authorityOf(url: URL): string {
  return `${url.hostname}:${url.port || defaultPort(url)}`
}

/** A host of `tokenServiceHosts` without a port means the scheme's own. */
function withPort(host: string, url: URL): string {
  return /:\d+$/.test(host) && !host.endsWith(']') ? host : `${host}:${defaultPort(url)}`
}

function defaultPort({ protocol }: URL): string {
  return protocol === 'http:' ? '80' : '443'
}
