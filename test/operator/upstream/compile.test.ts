import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Upstream } from '../../../operator/api/upstream.ts'
import { compileUpstream } from '../../../operator/upstream/compile.ts'
import type { Lookup } from '../../../operator/upstream/tls.ts'
import { UpstreamRoute } from '../../../proxy/routes.ts'
import { basicAuth, configMap, lookupOf, secret, upstream } from '../builders.ts'
import { authority, clientCertificate, clientKey, encryptedKey, otherKey } from './certificates.ts'

const host = { 'headwater.dev/registry-host': 'registry.example.com' }
const credentialsSecretRef = { name: 'login' }

function routeOf(resource: Upstream, lookup: Lookup = lookupOf()): UpstreamRoute {
  const { route, problems } = compileUpstream(resource, lookup)
  expect(problems).toEqual([])
  return UpstreamRoute.parse(route)
}

function idOf(spec: Record<string, unknown>, password = 'a', username = 'me') {
  return routeOf(upstream(spec), lookupOf(basicAuth({ username, password }, host))).id
}

describe('the id of an upstream', () => {
  it('is the hash of namespace, name, address and account', () => {
    const said = JSON.stringify(['default', 'hub', 'https://registry.example.com', 'anonymous'])
    expect(routeOf(upstream({})).id).toBe(createHash('sha256').update(said).digest('hex'))
  })

  it('stays when the password or the way of writing the address changes', () => {
    const before = idOf({ credentialsSecretRef }, 'a')
    expect(idOf({ credentialsSecretRef }, 'b')).toBe(before)
    expect(idOf({ credentialsSecretRef, url: 'HTTPS://registry.example.com:443/v2/' })).toBe(before)
    expect(idOf({ credentialsSecretRef, mode: 'CacheOnly', mirrorOf: ['a.b'] })).toBe(before)
  })

  it('is another for another account, address, name or namespace', () => {
    const ids = [
      idOf({}),
      idOf({ credentialsSecretRef }),
      idOf({ credentialsSecretRef }, 'a', 'you'),
      idOf({ url: 'https://registry.example.com/x' }),
      idOf({ url: 'http://registry.example.com' }),
      routeOf(upstream({}, { name: 'other' })).id,
      routeOf(upstream({}, { namespace: 'other' })).id,
    ]
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('has the subject of the client certificate for an account', () => {
    const spec = { tls: { clientCertificateSecretRef: { name: 'login' } } }
    const stringData = { 'tls.crt': clientCertificate, 'tls.key': clientKey }
    const { id, tls } = routeOf(upstream(spec), lookupOf(secret({ type: 'kubernetes.io/tls', stringData })))
    const said = JSON.stringify(['default', 'hub', 'https://registry.example.com', 'O=corp\nCN=me'])
    expect(id).toBe(createHash('sha256').update(said).digest('hex'))
    expect(tls).toEqual({ certificate: clientCertificate, key: clientKey })
  })
})

describe('the origin of an upstream', () => {
  const trusting = { tls: { caCertificateRef: { name: 'corp-ca' } } }

  it('is shared by upstreams of one host, whatever their names, paths and accounts', () => {
    const origin = routeOf(upstream({})).origin
    const lookup = lookupOf(basicAuth({ username: 'me', password: 'a' }, host))
    expect(routeOf(upstream({ url: 'https://registry.example.com/x' }, { name: 'other' })).origin).toBe(
      origin,
    )
    expect(routeOf(upstream({ credentialsSecretRef }), lookup).origin).toBe(origin)
  })

  it('is another for another scheme, port or trust', () => {
    const origins = [
      routeOf(upstream({})).origin,
      routeOf(upstream({ url: 'http://registry.example.com' })).origin,
      routeOf(upstream({ url: 'https://registry.example.com:444' })).origin,
      routeOf(upstream(trusting), lookupOf(configMap({ 'ca.crt': authority }))).origin,
    ]
    expect(new Set(origins).size).toBe(origins.length)
  })

  it('is the same for the same authorities, however they are written', () => {
    const of = (text: string) => routeOf(upstream(trusting), lookupOf(configMap({ 'ca.crt': text }))).origin
    const both = of(`${authority}${clientCertificate}`)
    expect(of(`# ours\n${clientCertificate}\n# and theirs\n${authority}${authority}`)).toBe(both)
    expect(of(authority)).not.toBe(both)
  })
})

it('answers to the names of Docker Hub and to those it mirrors', () => {
  expect(routeOf(upstream({ url: 'https://index.docker.io' })).namespaceHosts).toEqual([
    'docker.io',
    'index.docker.io',
    'registry-1.docker.io',
  ])
  const mirror = upstream({ url: 'https://Mirror.example:5000/x', mirrorOf: ['docker.io', 'quay.io:8443'] })
  expect(routeOf(mirror).namespaceHosts).toEqual([
    'mirror.example:5000',
    'docker.io',
    'index.docker.io',
    'registry-1.docker.io',
    'quay.io:8443',
  ])
})

it('normalises the hosts of token services', () => {
  const tokenServiceHosts = ['auth.docker.io:443', 'auth.docker.io', '127.0.0.1:5001']
  expect(routeOf(upstream({ tokenServiceHosts })).tokenServiceHosts).toEqual([
    'auth.docker.io',
    '127.0.0.1:5001',
  ])
})

it('carries the authorities from a Secret as well', () => {
  const tls = { caCertificateRef: { kind: 'Secret', name: 'login', key: 'x' } }
  const data = { x: Buffer.from(authority).toString('base64') }
  expect(routeOf(upstream({ tls }), lookupOf(secret({ data }))).tls).toEqual({ ca: authority })
})

describe('an upstream has no route, and is never anonymous (K12),', () => {
  const ca = (rest: object) => ({ tls: { caCertificateRef: { name: 'corp-ca', ...rest } } })
  const client = { tls: { clientCertificateSecretRef: { name: 'login' } } }
  const tlsSecret = (stringData: Record<string, string>) => secret({ type: 'kubernetes.io/tls', stringData })
  const pair = { 'tls.crt': clientCertificate, 'tls.key': clientKey }

  it.each<[string, Record<string, unknown>, Lookup, string, string, string]>([
    [
      'with no Secret',
      { credentialsSecretRef },
      lookupOf(),
      'spec.credentialsSecretRef.name',
      'RefNotFound',
      'there is no Secret login in this namespace',
    ],
    [
      'at no address',
      { url: 'https://1.2.3.4.5' },
      lookupOf(),
      'spec.url',
      'InvalidUrl',
      'the host is neither a name nor an address',
    ],
    [
      'with no authority',
      ca({}),
      lookupOf(),
      'spec.tls.caCertificateRef.name',
      'RefNotFound',
      'there is no ConfigMap corp-ca in this namespace',
    ],
    [
      'with no key in it',
      ca({ key: 'other' }),
      lookupOf(configMap({ 'ca.crt': authority })),
      'spec.tls.caCertificateRef.key',
      'RefNotFound',
      'ConfigMap corp-ca has no key other',
    ],
    [
      'with no certificate in it',
      ca({}),
      lookupOf(configMap({ 'ca.crt': 'c4n4ry' })),
      'spec.tls.caCertificateRef.key',
      'CertificateInvalid',
      'ca.crt of ConfigMap corp-ca holds no certificates in PEM',
    ],
    [
      'with a certificate cut short',
      ca({}),
      lookupOf(configMap({ 'ca.crt': `${authority}${authority.slice(0, 200)}` })),
      'spec.tls.caCertificateRef.key',
      'CertificateInvalid',
      'ca.crt of ConfigMap corp-ca holds no certificates in PEM',
    ],
    [
      'with a Secret of another type for the client certificate',
      client,
      lookupOf(secret({ stringData: pair })),
      'spec.tls.clientCertificateSecretRef',
      'SecretTypeNotSupported',
      'Secret login has another type than kubernetes.io/tls',
    ],
    [
      'with half a client certificate',
      client,
      lookupOf(tlsSecret({ 'tls.crt': clientCertificate })),
      'spec.tls.clientCertificateSecretRef',
      'CertificateInvalid',
      'Secret login needs both tls.crt and tls.key',
    ],
    [
      'with an encrypted key',
      client,
      lookupOf(tlsSecret({ ...pair, 'tls.key': encryptedKey })),
      'spec.tls.clientCertificateSecretRef',
      'CertificateInvalid',
      'tls.key of Secret login holds no key in PEM that is not encrypted',
    ],
    [
      "with another certificate's key",
      client,
      lookupOf(tlsSecret({ ...pair, 'tls.key': otherKey })),
      'spec.tls.clientCertificateSecretRef',
      'CertificateInvalid',
      'tls.crt and tls.key of Secret login do not belong together',
    ],
    [
      'with no client certificate in it',
      client,
      lookupOf(tlsSecret({ ...pair, 'tls.crt': 'c4n4ry' })),
      'spec.tls.clientCertificateSecretRef',
      'CertificateInvalid',
      'tls.crt of Secret login holds no certificate in PEM',
    ],
  ])('%s', (_, spec, lookup, field, reason, message) => {
    const { route, problems } = compileUpstream(upstream(spec), lookup)
    expect(route).toBeUndefined()
    const place = { kind: 'Upstream', namespace: 'default', name: 'hub' }
    expect(problems).toEqual([expect.objectContaining({ ...place, path: field.split('.'), reason, message })])
  })

  it('with several problems, all of which are said', () => {
    const spec = { credentialsSecretRef, tls: { ...ca({}).tls, ...client.tls } }
    expect(compileUpstream(upstream(spec), lookupOf()).problems).toHaveLength(3)
  })
})
