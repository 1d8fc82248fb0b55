import type { AddressInfo } from 'node:net'
import type { RouteTable } from '../proxy/route-table.ts'

/** What a person reads at the start: what is served, from where, and commands to copy. */
export function formatBanner({
  table,
  listen,
  admin,
  data,
}: {
  table: RouteTable
  listen: AddressInfo
  admin: AddressInfo
  data: string
}): string {
  const authority = formatAuthority(listen)
  const lines = [
    `listening on http://${authority}, admin on http://${formatAuthority(admin)} (/livez /readyz /metrics)`,
    `cache in ${data}`,
    '',
    ...served(table, authority),
  ]
  const example = table.registries[0]
  if (example)
    lines.push(
      '',
      ...commands(`${authority}/${example.route.path}`),
      '',
      ...containerd(authority, example.route.path),
    )
  return `${lines.join('\n')}\n`
}

function served({ registries }: RouteTable, authority: string): string[] {
  if (registries.length === 0) return ['no VirtualRegistry is configured: nothing is served']
  return registries.flatMap(({ key, route, upstreams, mayPullAnonymously }) => {
    const names = upstreams.map(({ upstream }) => `${upstream.name} (${upstream.url})`)
    const closed =
      route.access.rules.length === 0 && !mayPullAnonymously('') ? '; no rule lets anybody pull' : ''
    const hosts = route.hosts.length > 0 ? ` and at ${route.hosts.join(', ')}` : ''
    return [
      `${key} at ${authority}/${route.path}${hosts}${closed}, from`,
      ...names.map((name) => `    ${name}`),
    ]
  })
}

function commands(prefix: string): string[] {
  return [
    'pull through it:',
    `    docker pull ${prefix}/library/alpine:3.22`,
    `    podman pull --tls-verify=false ${prefix}/library/alpine:3.22`,
    `    crane pull ${prefix}/library/alpine:3.22 alpine.tar`,
  ]
}

function containerd(authority: string, path: string): string[] {
  return [
    'or as containerd’s mirror of docker.io, in /etc/containerd/certs.d/docker.io/hosts.toml:',
    '    server = "https://registry-1.docker.io"',
    `    [host."http://${authority}/v2/${path}"]`,
    '      capabilities = ["pull", "resolve"]',
    '      override_path = true',
    '      dial_timeout = "2s"',
  ]
}

function formatAuthority({ address, family, port }: AddressInfo): string {
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`
}
