import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { createSecureContext, type SecureContext } from 'node:tls'
import { Agent, buildConnector, type Dispatcher, Pool, ProxyAgent } from 'undici'
import type { UpstreamRoute } from '../routes.ts'
import { createProxyChoice } from './proxy-choice.ts'
import type { HostResolver } from './resolve-host.ts'
import { AddressBlockedError } from './transport-error.ts'

/** The connections of one upstream, shared with no other. */
export interface Connections {
  /** Throws AddressBlockedError for a literal address that is not permitted. */
  dispatcherFor(url: URL, purpose: Purpose): Dispatcher
  /** Takes no more requests, and is gone when the bodies that are open have ended. */
  retire(): Promise<void>
  destroy(): Promise<void>
}

/** What takes long has connections of its own: a question must not wait for the end of a blob. */
export type Purpose = 'blob' | 'question'

export interface ConnectionSettings {
  readonly isPermitted: (address: string) => boolean
  readonly resolveHost: HostResolver
  /** PEM texts, in place of Node's own, for upstreams without a `ca`. */
  readonly rootCertificates?: readonly string[] | undefined
  /**
   * For https. The policy of addresses then sees the proxy's address, and the target's only where it is a literal: the
   * proxy resolves the names, and it is the one to refuse them.
   */
  readonly proxyUrl?: string | undefined
  readonly noProxy?: string | undefined
  readonly connectMs: number
  readonly headersMs: number
  readonly idleMs: number
  readonly headerBytes: number
  /** To one host at a time, for each purpose. */
  readonly connections: number
}

const hostsAtOnce = 100
const keepAliveMs = 5_000
const addressAttemptMs = 700

/**
 * A client certificate is shown to the upstream's own host alone; its `ca` holds for every host on the way, since that is
 * whom the upstream's owner trusts. Throws when certificate, key or CA is not PEM.
 */
export function createConnections(
  upstream: Pick<UpstreamRoute, 'url' | 'tls'>,
  settings: ConnectionSettings,
): Connections {
  const { tls, url: base } = upstream
  const ownHostname = new URL(base).hostname
  const ca = tls?.ca ?? (settings.rootCertificates ? [...settings.rootCertificates] : undefined)
  // TLS takes a text without a certificate for a CA without a word, and then trusts nobody.
  if (ca) for (const text of [ca].flat()) new X509Certificate(text)
  const trust = { minVersion: 'TLSv1.2', ...(ca && { ca }) } as const
  const stranger = createSecureContext(trust)
  const known = tls?.certificate
    ? createSecureContext({ ...trust, cert: tls.certificate, ...(tls.key && { key: tls.key }) })
    : stranger
  const isProxied = createProxyChoice(settings.noProxy ?? '')
  const lanes = new Map<string, Dispatcher>()

  return {
    dispatcherFor(url, purpose) {
      checkLiteral(url.hostname, settings)
      const context = url.hostname === ownHostname ? known : stranger
      const proxyUrl = isProxied(url) ? settings.proxyUrl : undefined
      const key = `${purpose} ${context === known} ${proxyUrl !== undefined}`
      const lane = lanes.get(key) ?? createLane(context, proxyUrl, settings)
      lanes.set(key, lane)
      return lane
    },
    async retire() {
      await Promise.all([...lanes.values()].map((lane) => lane.close()))
    },
    async destroy() {
      await Promise.all([...lanes.values()].map((lane) => lane.destroy()))
    },
  }
}

function createLane(
  secureContext: SecureContext,
  proxyUrl: string | undefined,
  settings: ConnectionSettings,
): Dispatcher {
  const { connections, headersMs, idleMs, connectMs, headerBytes } = settings
  const limits = {
    connections,
    maxOrigins: hostsAtOnce,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: keepAliveMs,
    keepAliveMaxTimeout: keepAliveMs,
    bodyTimeout: idleMs,
    headersTimeout: headersMs,
    maxHeaderSize: headerBytes,
  }
  if (proxyUrl === undefined) return new Agent({ ...limits, connect: createConnect(secureContext, settings) })
  return new ProxyAgent({
    ...limits,
    uri: proxyUrl,
    connectTimeout: connectMs,
    requestTls: { secureContext, allowH2: false },
    clientFactory: (origin) =>
      new Pool(origin, {
        ...poolLimits(connections, connectMs),
        connect: createConnect(undefined, settings),
      }),
  })
}

function poolLimits(connections: number, connectMs: number) {
  return { connections, headersTimeout: connectMs, bodyTimeout: connectMs }
}

/** Every connection is made to an address that was judged: the lookup hands over no other, and nobody looks up again. */
function createConnect(
  secureContext: SecureContext | undefined,
  settings: ConnectionSettings,
): buildConnector.connector {
  const { connectMs, isPermitted, resolveHost } = settings
  const roots = settings.rootCertificates ? [...settings.rootCertificates] : undefined
  const connect = buildConnector({
    secureContext:
      secureContext ?? createSecureContext({ minVersion: 'TLSv1.2', ...(roots && { ca: roots }) }),
    timeout: connectMs,
    allowH2: false,
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: addressAttemptMs,
    lookup(hostname, _options, callback) {
      resolveHost(hostname).then(
        (addresses) => {
          const permitted = addresses.filter(({ address }) => isPermitted(address))
          if (permitted.length > 0) callback(null, [...permitted])
          else callback(new AddressBlockedError(), [])
        },
        (error: NodeJS.ErrnoException) => callback(error, []),
      )
    },
  })
  return (options, callback) => {
    if (isIP(options.hostname) !== 0 && !isPermitted(options.hostname))
      callback(new AddressBlockedError(), null)
    else connect(options, callback)
  }
}

function checkLiteral(hostname: string, { isPermitted }: ConnectionSettings): void {
  const bare = hostname.replace(/^\[|\]$/g, '')
  if (isIP(bare) !== 0 && !isPermitted(bare)) throw new AddressBlockedError()
}
