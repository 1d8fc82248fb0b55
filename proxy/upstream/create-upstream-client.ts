import { createHash } from 'node:crypto'
import type { Observer } from '../observer.ts'
import type { UpstreamRoute } from '../routes.ts'
import { type AddressPolicy, createAddressCheck } from './address-policy.ts'
import type { UpstreamClient } from './client.ts'
import { type ConnectionSettings, type Connections, createConnections } from './connections.ts'
import { createDeadline } from './deadline.ts'
import { UpstreamError } from './errors.ts'
import { defaultUpstreamLimits, type UpstreamLimits } from './limits.ts'
import { type AskUpstream, createOneUpstream } from './one-upstream.ts'
import { parseProxyUrl } from './proxy-choice.ts'
import { createHostResolver, type HostResolver } from './resolve-host.ts'

export interface UpstreamClientOptions {
  readonly observer: Observer
  /** Wall time in milliseconds. */
  readonly now: () => number
  /** Sent as `User-Agent: headwater/<version>`. */
  readonly version: string
  readonly addressPolicy: AddressPolicy
  readonly limits?: Partial<UpstreamLimits>
  /** As in HTTPS_PROXY; the policy of addresses then sees the proxy's address, since the proxy resolves the names. */
  readonly proxyUrl?: string | undefined
  /** As in NO_PROXY. */
  readonly noProxy?: string | undefined
  readonly resolveHost?: HostResolver
  /** PEM texts, in place of Node's own, for upstreams without a `ca`. */
  readonly rootCertificates?: readonly string[] | undefined
  readonly random?: () => number
}

interface Entry {
  readonly ask: AskUpstream
  readonly connections: Connections
  /** Requests under way: a forgotten entry lives until they are through with their tokens and redirects. */
  users: number
  forgotten: boolean
}

/** Throws when the policy or the proxy's URL cannot be read. */
export function createUpstreamClient(options: UpstreamClientOptions): UpstreamClient {
  const { observer, now, version, random = Math.random, rootCertificates, noProxy } = options
  const limits = { ...defaultUpstreamLimits, ...options.limits }
  const settings: ConnectionSettings = {
    ...limits,
    isPermitted: createAddressCheck(options.addressPolicy),
    resolveHost: options.resolveHost ?? createHostResolver({ now }),
    rootCertificates,
    proxyUrl: parseProxyUrl(options.proxyUrl),
    noProxy,
  }
  const keys = new WeakMap<UpstreamRoute, string>()
  const entries = new Map<string, Entry>()
  const open = new Set<Connections>()
  let closed = false

  function keyOf(upstream: UpstreamRoute): string {
    const key = keys.get(upstream) ?? contentKey(upstream)
    keys.set(upstream, key)
    return key
  }

  function entryOf(upstream: UpstreamRoute): Entry {
    const known = entries.get(keyOf(upstream))
    if (known) return known
    const connections = connectionsOf(upstream, settings)
    const ask = createOneUpstream({ upstream, connections, observer, limits, version, now, random })
    const entry = { ask, connections, users: 0, forgotten: false }
    entries.set(keyOf(upstream), entry)
    open.add(connections)
    return entry
  }

  async function retireIfUnused({ connections, forgotten, users }: Entry): Promise<void> {
    if (!forgotten || users > 0) return
    await connections.retire()
    open.delete(connections)
  }

  return {
    async request(request) {
      const { upstream, firstByteMs = limits.firstByteMs, signal } = request
      const name = `${upstream.namespace}/${upstream.name}`
      if (closed) throw new UpstreamError('unavailable', `${name} is not asked any more`)
      if (upstream.problem !== undefined) throw new UpstreamError('blocked', `${name}: ${upstream.problem}`)
      if (upstream.mode === 'CacheOnly') throw new UpstreamError('blocked', `${name} is CacheOnly`)

      const entry = entryOf(upstream)
      const deadline = createDeadline(`asking ${name}`, firstByteMs, signal)
      entry.users++
      try {
        const answer = await entry.ask(request, deadline)
        if (answer.found && request.method === 'GET') answer.body.once('close', deadline.release)
        else deadline.release()
        return answer
      } catch (error) {
        deadline.release()
        throw error
      } finally {
        entry.users--
        void retireIfUnused(entry)
      }
    },

    retain(upstreams) {
      const kept = new Set(upstreams.map(keyOf))
      for (const [key, entry] of entries) {
        if (kept.has(key)) continue
        entries.delete(key)
        entry.forgotten = true
        void retireIfUnused(entry)
      }
    },

    async close() {
      closed = true
      entries.clear()
      await Promise.all([...open].map((connections) => connections.destroy()))
      open.clear()
    },
  }
}

/** Whatever changes what is sent, to whom, or who is trusted, makes another entry. */
function contentKey({ namespace, name, url, credentials, tls, tokenServiceHosts }: UpstreamRoute): string {
  const content = JSON.stringify([namespace, name, url, credentials, tls, tokenServiceHosts])
  return createHash('sha256').update(content).digest('hex')
}

function connectionsOf(upstream: UpstreamRoute, settings: ConnectionSettings): Connections {
  try {
    return createConnections(upstream, settings)
  } catch (error) {
    const { code = 'not PEM' } = error as NodeJS.ErrnoException
    const name = `${upstream.namespace}/${upstream.name}`
    throw new UpstreamError('blocked', `${name}: its CA, certificate or key cannot be used (${code})`)
  }
}
