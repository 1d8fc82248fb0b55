import { Resolver } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import { isIP, isIPv4 } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface HostAddress {
  readonly address: string
  readonly family: 4 | 6
}

/** Never empty: a name without an address is an error with a `code` of DNS, such as ENOTFOUND. */
export type HostResolver = (hostname: string) => Promise<readonly HostAddress[]>

const longestCacheSeconds = 30
const mostCached = 500
const filesReadEveryMs = 5_000
/** For IPv6 behind an answer for IPv4: there are name servers that never say anything to it (RFC 8305, 3). */
const longestLagMs = 100

/**
 * Asks the name servers itself (c-ares), so that a dead one never holds the few threads which files are read and
 * written on, as `getaddrinfo` would. Knows the hosts file, `localhost`, and the search domains of resolv.conf; not NSS
 * or mDNS. IPv4 comes first. `now` is in milliseconds.
 */
export function createHostResolver({
  now,
  servers,
  hostsFile = '/etc/hosts',
  resolvConf = '/etc/resolv.conf',
}: {
  now: () => number
  servers?: readonly string[]
  hostsFile?: string
  resolvConf?: string
}): HostResolver {
  const cache = new Map<string, { addresses: readonly HostAddress[]; until: number }>()
  const running = new Map<string, Promise<readonly HostAddress[]>>()
  let files: { hosts: Hosts; search: Search; until: number } | undefined

  async function readFiles(): Promise<{ hosts: Hosts; search: Search }> {
    if (files && files.until > now()) return files
    const [hosts, search] = await Promise.all([textOf(hostsFile), textOf(resolvConf)])
    files = { hosts: parseHosts(hosts), search: parseSearch(search), until: now() + filesReadEveryMs }
    return files
  }

  async function resolve(hostname: string): Promise<readonly HostAddress[]> {
    const { hosts, search } = await readFiles()
    const name = hostname.toLowerCase().replace(/\.$/, '')
    const fixed = hosts.get(name) ?? loopbackOf(name)
    if (fixed) return fixed
    const { addresses, ttlSeconds } = await askEach(candidatesOf(hostname, search), servers)
    if (cache.size >= mostCached) cache.clear()
    cache.set(hostname, { addresses, until: now() + 1000 * Math.min(longestCacheSeconds, ttlSeconds) })
    return addresses
  }

  return (hostname) => {
    const cached = cache.get(hostname)
    if (cached && cached.until > now()) return Promise.resolve(cached.addresses)
    const started = running.get(hostname) ?? resolve(hostname).finally(() => running.delete(hostname))
    running.set(hostname, started)
    return started
  }
}

interface Answer {
  readonly addresses: readonly HostAddress[]
  readonly ttlSeconds: number
}

/** A search domain whose own servers fail does not hide the rest, as it does not for glibc. */
async function askEach(names: readonly string[], servers: readonly string[] | undefined): Promise<Answer> {
  const failures: unknown[] = []
  for (const name of names) {
    try {
      return await ask(name, servers)
    } catch (error) {
      failures.push(error)
      if (!isAbsent(error) && !isRefusal(error)) break
    }
  }
  throw failures.find((error) => !isAbsent(error)) ?? failures[0]
}

/** A resolver for each question reads resolv.conf anew: a laptop changes networks, a pod its DNS. */
async function ask(name: string, servers: readonly string[] | undefined): Promise<Answer> {
  const resolver = new Resolver({ timeout: 1_000, tries: 2 })
  if (servers) resolver.setServers(servers)
  const asking = found(resolver.resolve6(name, { ttl: true }), 6)
  const four = await found(resolver.resolve4(name, { ttl: true }), 4)
  const isDecided = four.failure === undefined || codeOf(four.failure) === 'ENOTFOUND'
  const six = isDecided ? await Promise.race([asking, sleep(longestLagMs, noneYet)]) : await asking
  resolver.cancel()
  const records = [...four.records, ...six.records]
  if (records.length > 0) {
    return {
      addresses: records.map(({ address, family }) => ({ address, family })),
      ttlSeconds: six === noneYet ? 1 : Math.max(1, Math.min(...records.map(({ ttl }) => ttl))),
    }
  }
  const failures = [four.failure, six.failure].filter((failure) => failure !== undefined)
  throw failures.find((error) => !isAbsent(error)) ?? failures[0]
}

interface Found {
  readonly records: readonly (HostAddress & { readonly ttl: number })[]
  readonly failure?: unknown
}

const noneYet: Found = { records: [] }

async function found(
  asked: Promise<readonly { readonly address: string; readonly ttl: number }[]>,
  family: 4 | 6,
): Promise<Found> {
  try {
    return { records: (await asked).map(({ address, ttl }) => ({ address, ttl, family })) }
  } catch (failure) {
    return { records: [], failure }
  }
}

function isAbsent(error: unknown): boolean {
  return ['ENOTFOUND', 'ENODATA'].includes(codeOf(error))
}

/** The servers answered, and do not know. */
function isRefusal(error: unknown): boolean {
  return ['ESERVFAIL', 'EREFUSED'].includes(codeOf(error))
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? ''
}

type Hosts = ReadonlyMap<string, readonly HostAddress[]>

interface Search {
  readonly domains: readonly string[]
  readonly ndots: number
}

function parseHosts(text: string): Hosts {
  const hosts = new Map<string, HostAddress[]>()
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/)
    if (isIP(address) === 0) continue
    for (const name of names) {
      const known = hosts.get(name.toLowerCase()) ?? []
      hosts.set(name.toLowerCase(), [...known, { address, family: isIPv4(address) ? 4 : 6 }])
    }
  }
  for (const addresses of hosts.values()) addresses.sort((a, b) => a.family - b.family)
  return hosts
}

function parseSearch(text: string): Search {
  let domains: string[] = []
  let ndots = 1
  for (const line of text.split('\n')) {
    const [keyword, ...words] = line.trim().split(/\s+/)
    if (keyword === 'search' || keyword === 'domain') domains = words.slice(0, 6)
    const option = keyword === 'options' ? words.find((word) => /^ndots:\d{1,2}$/.test(word)) : undefined
    if (option) ndots = Math.min(15, Number(option.slice(6)))
  }
  return { domains, ndots }
}

/** As resolv.conf(5) orders them: a name with enough dots is asked for as it is first. */
function candidatesOf(hostname: string, { domains, ndots }: Search): string[] {
  if (hostname.endsWith('.')) return [hostname.slice(0, -1)]
  const searched = domains.map((domain) => `${hostname}.${domain.replace(/\.$/, '')}`)
  return hostname.split('.').length > ndots ? [hostname, ...searched] : [...searched, hostname]
}

/** RFC 6761: a name server is never asked for `localhost`. */
function loopbackOf(name: string): readonly HostAddress[] | undefined {
  if (name !== 'localhost' && !name.endsWith('.localhost')) return undefined
  return [
    { address: '127.0.0.1', family: 4 },
    { address: '::1', family: 6 },
  ]
}

async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '')
}
