/** Where an upstream is, in the one form in which it is compared, hashed and asked. */
export interface Address {
  /** No default port, no `/v2`, no slash at its end. */
  readonly url: string
  readonly scheme: 'http' | 'https'
  /** Lower-case; an IPv6 address is in brackets. */
  readonly hostname: string
  readonly port: number
  /** The host, with its port where that is not the scheme's own. */
  readonly host: string
}

/** Undefined where a text that the schema lets through is still no address, such as https://1.2.3.4.5. */
export function parseAddress(text: string): Address | undefined {
  if (!URL.canParse(text)) return undefined
  const { protocol, host, hostname, port, pathname } = new URL(text)
  const scheme = protocol === 'https:' ? 'https' : 'http'
  const path = pathname.replace(/\/$/, '').replace(/\/v2$/, '')
  return {
    url: `${scheme}://${host}${path}`,
    scheme,
    hostname,
    host,
    port: port === '' ? portOf(scheme) : Number(port),
  }
}

export function isLoopback({ hostname }: Address): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.[0-9]+\.[0-9]+\.[0-9]+$/.test(hostname)
}

/** Docker Hub has three names, and its credentials and images are the same under each. */
const dockerHubHosts = ['docker.io', 'index.docker.io', 'registry-1.docker.io']

/** The host itself and the other names of the same registry. */
export function hostsAlike(host: string): readonly string[] {
  return dockerHubHosts.includes(host) ? dockerHubHosts : [host]
}

/** Lower-case, and without the port of https. */
export function normaliseTokenHost(host: string): string {
  return host.toLowerCase().replace(/:443$/, '')
}

/** A key of a dockerconfigjson or the value of an annotation; undefined for what is no host, such as a glob. */
export function parseHostKey(
  key: string,
  scheme: Address['scheme'],
): (Pick<Address, 'host' | 'port'> & { readonly hasPath: boolean }) | undefined {
  const [, authority = '', path = ''] = /^(?:[a-z]+:\/\/)?([^/\\?#@]*)(|\/[^?#]*)$/i.exec(key.trim()) ?? []
  const text = `${scheme}://${authority}`
  if (authority === '' || authority.includes('*') || !URL.canParse(text)) return undefined
  const { hostname, port } = new URL(text)
  const number = port === '' ? portOf(scheme) : Number(port)
  return {
    host: number === portOf(scheme) ? hostname : `${hostname}:${number}`,
    port: number,
    hasPath: !/^\/?(?:v[12]\/?)?$/.test(path),
  }
}

function portOf(scheme: Address['scheme']): number {
  return scheme === 'https' ? 443 : 80
}
