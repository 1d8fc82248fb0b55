import type { AddressInfo } from 'node:net'
import type { Registry, RouteTable } from '../proxy/route-table.ts'

/** What a person reads at the start: where it listens and, with a table, what is served and commands to copy. */
export function formatBanner({
  table,
  listen,
  admin,
  data,
}: {
  table: RouteTable | undefined
  listen: AddressInfo
  admin: AddressInfo
  data: string
}): string {
  const authority = formatAuthority(listen)
  const lines = [
    `listening on http://${authority}, admin on http://${formatAuthority(admin)} (/livez /readyz /metrics)`,
    `cache in ${data}`,
    ...(table ? ['', ...served(table, authority)] : []),
  ]
  const example = table?.registries[0]
  if (example)
    lines.push(
      '',
      ...commands(`${authority}/${example.route.path}`, example),
      '',
      ...containerd(authority, example),
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

function commands(prefix: string, registry: Registry): string[] {
  const image = `${prefix}/${hasDockerHub(registry) ? 'library/alpine:3.22' : '<repository>:<tag>'}`
  return [
    'pull through it:',
    `    docker pull ${image}`,
    `    podman pull --tls-verify=false ${image}`,
    `    crane pull ${image} image.tar`,
  ]
}

/** As containerd's mirror of the first upstream's registry. */
function containerd(authority: string, registry: Registry): string[] {
  const { url, namespaceHosts } = registry.upstreams[0]!.upstream
  const mirrored = hasDockerHub(registry) ? 'docker.io' : (namespaceHosts[0] ?? new URL(url).host)
  return [
    `or as containerd’s mirror of ${mirrored}, in /etc/containerd/certs.d/${mirrored}/hosts.toml:`,
    `    server = "${hasDockerHub(registry) ? 'https://registry-1.docker.io' : url}"`,
    `    [host."http://${authority}/v2/${registry.route.path}"]`,
    '      capabilities = ["pull", "resolve"]',
    '      override_path = true',
    '      dial_timeout = "2s"',
  ]
}

function hasDockerHub({ upstreams }: Registry): boolean {
  return upstreams.some(({ upstream }) => upstream.namespaceHosts.includes('docker.io'))
}

function formatAuthority({ address, family, port }: AddressInfo): string {
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`
}
