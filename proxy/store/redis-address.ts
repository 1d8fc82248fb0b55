/** Where Redis is, out of one URL. */
export interface RedisAddress {
  readonly kind: 'single' | 'sentinel' | 'cluster'
  readonly nodes: readonly { readonly host: string; readonly port: number }[]
  readonly username: string | undefined
  readonly password: string | undefined
  readonly tls: boolean
  /** The name of what the sentinels watch. */
  readonly master: string | undefined
  readonly database: number
}

const kinds = { redis: 'single', 'redis-sentinel': 'sentinel', 'redis-cluster': 'cluster' } as const
const ports = { single: 6379, sentinel: 26379, cluster: 6379 } as const

const pattern =
  /^(?<scheme>rediss?(?:-sentinel|-cluster)?):\/\/(?:(?<account>[^@/?#]*)@)?(?<nodes>[^@/?#]+)(?:\/(?<path>[^?#]*))?$/

/**
 * `redis://[[user]:password@]host[:port][/database]`, `redis-cluster://[…@]host[:port],host…` or
 * `redis-sentinel://[…@]host[:port],host…/master[/database]`; with `rediss` it is TLS. Undefined for what is none.
 */
export function parseRedisAddress(text: string): RedisAddress | undefined {
  const { scheme = '', account = '', nodes = '', path = '' } = pattern.exec(text)?.groups ?? {}
  const kind = kinds[scheme.replace(/^rediss/, 'redis') as keyof typeof kinds]
  if (!kind) return undefined
  const places = nodes.split(',').map((node) => parseNode(node, ports[kind]))
  const [master, database] = kind === 'sentinel' ? split(path, '/') : [undefined, path]
  const known = places.filter((place) => place !== undefined)
  const number = parseDatabase(database)
  if (known.length !== places.length || number === undefined) return undefined
  if ((kind === 'single' && known.length > 1) || (kind === 'cluster' && number > 0)) return undefined
  if (kind === 'sentinel' && !master) return undefined
  const [username, password] = account.includes(':') ? split(account, ':') : ['', account]
  try {
    return {
      kind,
      nodes: known,
      username: decodeURIComponent(username) || undefined,
      password: decodeURIComponent(password) || undefined,
      tls: scheme.startsWith('rediss'),
      master,
      database: number,
    }
  } catch {
    return undefined
  }
}

function split(text: string, at: string): [string, string] {
  const index = text.indexOf(at)
  return index < 0 ? [text, ''] : [text.slice(0, index), text.slice(index + 1)]
}

function parseNode(text: string, defaultPort: number): { host: string; port: number } | undefined {
  const {
    six,
    host,
    port = String(defaultPort),
  } = /^(?:\[(?<six>[0-9a-fA-F:.]+)\]|(?<host>[A-Za-z0-9._-]+))(?::(?<port>\d{1,5}))?$/.exec(text)?.groups ??
  {}
  const name = six ?? host
  return name !== undefined && Number(port) > 0 && Number(port) < 65536
    ? { host: name, port: Number(port) }
    : undefined
}

function parseDatabase(text: string): number | undefined {
  return /^\d{0,4}$/.test(text) ? Number(text) : undefined
}
