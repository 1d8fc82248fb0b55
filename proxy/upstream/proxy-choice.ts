import { BlockList, isIP, isIPv4 } from 'node:net'

/**
 * Whether a URL is asked through the proxy: https alone, never loopback, and nothing that `noProxy` names. Its words are
 * those of NO_PROXY: hosts (with all below them, with or without a dot or `*.` before), `host:port`, addresses, CIDRs, `*`.
 */
export function createProxyChoice(noProxy: string): (url: URL) => boolean {
  const words = noProxy
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((word) => word !== '')
  const ranges = new BlockList()
  const hosts: { host: string; port: string | undefined }[] = []
  for (const word of words) {
    const [address = '', bits] = bare(word).split('/')
    if (isIP(address) !== 0) addRange(ranges, address, bits)
    else {
      const [, host = '', port] = /^(?:\*?\.)?(.*?)(?::(\d+))?$/.exec(word) ?? []
      hosts.push({ host: bare(host), port })
    }
  }
  const direct = words.includes('*')

  return (url) => {
    const hostname = bare(url.hostname)
    if (direct || url.protocol !== 'https:' || isLoopback(hostname)) return false
    if (isIP(hostname) !== 0 && ranges.check(hostname, isIPv4(hostname) ? 'ipv4' : 'ipv6')) return false
    const port = url.port || '443'
    return !hosts.some(
      (word) =>
        (word.port ?? port) === port && (hostname === word.host || hostname.endsWith(`.${word.host}`)),
    )
  }
}

function bare(host: string): string {
  return host.replace(/^\[|\]$/g, '')
}

/**
 * The value of HTTPS_PROXY as a URL: without a scheme it is http, and empty is none. Throws, without the value, when it
 * is neither http nor https.
 */
export function parseProxyUrl(text: string | undefined): string | undefined {
  if (text === undefined || text.trim() === '') return undefined
  const written = text.includes('://') ? text.trim() : `http://${text.trim()}`
  const url = URL.canParse(written) ? new URL(written) : undefined
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    throw new Error('the proxy for https is not an http URL')
  return url.href
}

function addRange(ranges: BlockList, address: string, bits: string | undefined): void {
  const width = isIPv4(address) ? 32 : 128
  const prefix = bits !== undefined && /^\d{1,3}$/.test(bits) ? Math.min(width, Number(bits)) : width
  ranges.addSubnet(address, prefix, isIPv4(address) ? 'ipv4' : 'ipv6')
}

function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '::1' ||
    hostname.startsWith('127.')
  )
}
