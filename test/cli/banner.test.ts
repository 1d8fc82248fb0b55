import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { formatBanner } from '../../cli/banner.ts'
import { compileResources } from '../../operator/compile.ts'
import { createRouteTable } from '../../proxy/route-table.ts'
import { registry, upstream } from '../operator/builders.ts'

const { documents } = compileResources({
  upstreams: [upstream({ url: 'https://registry-1.docker.io' })],
  virtualRegistries: [registry({ path: 'hub' })],
  ...{ secrets: [], configMaps: [] },
})
const at = (address: string, port: number): AddressInfo => ({
  ...{ address, port },
  family: address.includes(':') ? 'IPv6' : 'IPv4',
})
const banner = (externalUrl: string | undefined, listen = at('127.0.0.1', 5050)) =>
  formatBanner({
    table: createRouteTable(documents),
    ...{ listen, admin: at('127.0.0.1', 5051), externalUrl, data: '.headwater' },
  })

describe('what is said at the start', () => {
  it('has commands for where it listens', () => {
    const said = banner(undefined)
    expect(said).toContain('listening on http://127.0.0.1:5050, admin on http://127.0.0.1:5051 ')
    expect(said).toContain('docker pull 127.0.0.1:5050/hub/library/alpine:3.22')
    expect(said).toContain('podman pull --tls-verify=false 127.0.0.1:5050/hub/')
    expect(said).toContain('[host."http://127.0.0.1:5050/v2/hub"]')
    expect(said).not.toContain('clients reach it')
    expect(banner(undefined, at('::1', 80))).toContain('docker pull [::1]:80/hub/')
  })

  it('has commands for where clients reach it, when that is known', () => {
    const said = banner('https://registry.example.com:8443')
    expect(said).toContain('listening on http://127.0.0.1:5050, ')
    expect(said).toContain('clients reach it at https://registry.example.com:8443')
    expect(said).toContain('default/all at registry.example.com:8443/hub;')
    expect(said).toContain('docker pull registry.example.com:8443/hub/library/alpine:3.22')
    expect(said).toContain('podman pull registry.example.com:8443/hub/')
    expect(said).toContain('[host."https://registry.example.com:8443/v2/hub"]')
  })
})
