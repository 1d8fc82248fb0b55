import type { AddressInfo } from 'node:net'
import type { Registry, RouteTable } from '../proxy/route-table.ts'

/** What a person reads at the start: where it listens and, with a table, what is served and commands to copy. */
export function formatBanner({
  table,
  listen,
  admin,
  externalUrl,
  data,
}: {
  table: RouteTable | undefined
  listen: AddressInfo
  admin: AddressInfo
  externalUrl: string | undefined
  data: string
}): string {
  const listening = `http://${formatAuthority(listen)}`
  const url = externalUrl ?? listening
  const lines = [
    `listening on ${listening}, admin on http://${formatAuthority(admin)} (/livez /readyz /metrics)`,
    ...(externalUrl === undefined ? [] : [`clients reach it at ${externalUrl}`]),
    `cache in ${data}`,
    ...(table ? ['', ...served(table, authorityOf(url))] : []),
  ]
  const example = table?.registries[0]
  if (example) lines.push('', ...commands(url, example), '', ...containerd(url, example))
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

function commands(url: string, registry: Registry): string[] {
  const repository = hasDockerHub(registry) ? 'library/alpine:3.22' : '<repository>:<tag>'
  const image = `${authorityOf(url)}/${registry.route.path}/${repository}`
  return [
    'pull through it:',
    `    docker pull ${image}`,
    `    podman pull ${url.startsWith('http:') ? '--tls-verify=false ' : ''}${image}`,
    `    crane pull ${image} image.tar`,
  ]
}

/** As containerd's mirror of the first upstream's registry. */
function containerd(url: string, registry: Registry): string[] {
  const { url: upstreamUrl, namespaceHosts } = registry.upstreams[0]!.upstream
  const mirrored = hasDockerHub(registry) ? 'docker.io' : (namespaceHosts[0] ?? new URL(upstreamUrl).host)
  return [
    `or as containerd’s mirror of ${mirrored}, in /etc/containerd/certs.d/${mirrored}/hosts.toml:`,
    `    server = "${hasDockerHub(registry) ? 'https://registry-1.docker.io' : upstreamUrl}"`,
    `    [host."${url}/v2/${registry.route.path}"]`,
    '      capabilities = ["pull", "resolve"]',
    '      override_path = true',
    '      dial_timeout = "2s"',
  ]
}

function hasDockerHub({ upstreams }: Registry): boolean {
  return upstreams.some(({ upstream }) => upstream.namespaceHosts.includes('docker.io'))
}

function authorityOf(url: string): string {
  return url.slice(url.indexOf('//') + 2)
}

function formatAuthority({ address, family, port }: AddressInfo): string {
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`
}
