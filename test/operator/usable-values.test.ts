import { describe, expect, it } from 'vitest'
import { Upstream } from '../../operator/api/upstream.ts'
import { observeConfigMap, observeCustom, observeSecret } from '../../operator/observed.ts'
import { planUpstream } from '../../operator/upstream/plan.ts'
import { longestDocument } from '../../proxy/routes.ts'
import { lookupOf } from './builders.ts'
import { seenUpstream } from './seen.ts'
import { authority, clientCertificate, clientKey } from './upstream/certificates.ts'

const junk = 'x'.repeat(500_000)
const host = 'registry.example.com'
const encode = (values: Record<string, string>) =>
  Object.fromEntries(
    Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
  )

const secret = (type: string, values: Record<string, string>, name = 'login') =>
  observeSecret({
    ...{ apiVersion: 'v1', kind: 'Secret', type: `kubernetes.io/${type}`, data: encode(values) },
    metadata: { namespace: 'default', name, annotations: { 'headwater.dev/registry-host': host } },
  })
const config = (auths: unknown, more: object = {}) =>
  secret('dockerconfigjson', { '.dockerconfigjson': JSON.stringify({ auths, ...more }) })
const sizeOf = ({ data }: { readonly data: object }) => JSON.stringify(data).length

const ofLogin = { credentialsSecretRef: { name: 'login' } }
const ofAuthority = (kind: string, key: string) => ({
  tls: { caCertificateRef: { kind, name: 'login', key } },
})
const plan = (spec: object, object: ReturnType<typeof observeSecret> | ReturnType<typeof observeConfigMap>) =>
  planUpstream({
    ...{ upstream: seenUpstream({ ...spec }), previous: undefined, health: undefined },
    lookup: lookupOf(object),
  })

describe('what is kept of a Secret', () => {
  it.each([
    [
      'an account among much else',
      config({ [host]: { auth: btoa('me:word'), junk } }, { HttpHeaders: junk }),
    ],
    ['user name and password', config({ [host]: { username: 'me', password: 'word', identitytoken: junk } })],
    ['an account of basic-auth', secret('basic-auth', { username: 'me', password: 'word', notes: junk })],
  ])('is %s', (_name, seen) => {
    expect(plan(ofLogin, seen).route?.credentials).toEqual({ username: 'me', password: 'word' })
    expect(sizeOf(seen)).toBeLessThan(1000)
  })

  it('is a client certificate and its key, and an authority under any key', () => {
    const pair = { 'tls.crt': clientCertificate, 'tls.key': clientKey, 'ca.crt': authority, bundle: junk }
    const seen = secret('tls', pair)
    const tls = { clientCertificateSecretRef: { name: 'login' }, ...ofAuthority('Secret', 'ca.crt').tls }
    expect(plan({ tls }, seen).route?.tls).toEqual({
      ...{ ca: authority, certificate: clientCertificate, key: clientKey },
    })
    expect(sizeOf(seen)).toBeLessThan(10_000)
  })

  it.each<[string, ReturnType<typeof secret>, RegExp]>([
    ['no JSON', secret('dockerconfigjson', { '.dockerconfigjson': junk }), /is no JSON object with "auths"/],
    ['no accounts', config(undefined, { junk }), /is no JSON object with "auths"/],
    ['another host', config({ 'quay.io': { auth: btoa('me:word'), junk } }), /has no entry for registry/],
    ['an entry that is none', config({ [host]: [junk] }), /neither "auth" nor/],
    [
      'an account that is too long',
      config({ [host]: { auth: btoa(`me:${junk}`) } }),
      /password .* is too long/,
    ],
    [
      'a password that is too long',
      secret('basic-auth', { username: 'me', password: junk }),
      /password .* is too long/,
    ],
    [
      'a password of signs of many bytes',
      config({ [host]: { username: 'me', password: '語'.repeat(300_000) } }),
      /password .* is too long/,
    ],
    ['no password', secret('basic-auth', { username: 'me', Password: junk }), /needs both/],
  ])('says the same of %s', (_name, seen, message) => {
    expect(plan(ofLogin, seen).verdicts.ResolvedRefs.message).toMatch(message)
    expect(sizeOf(seen)).toBeLessThan(300_000)
  })
})

it('keeps of the annotations of our own kinds the one that is read', () => {
  const asked = { 'headwater.dev/reconcile-requested-at': 'now' }
  const seen = observeCustom(Upstream, {
    ...{ apiVersion: 'headwater.dev/v1alpha1', kind: 'Upstream', spec: { url: `https://${host}` } },
    metadata: { namespace: 'default', name: 'hub', annotations: { ...asked, note: junk } },
  })
  expect(seen.problems).toEqual([])
  expect(seen.metadata.annotations).toEqual(asked)
  expect(JSON.stringify(seen).length).toBeLessThan(2000)
})

describe('what is kept of certificates', () => {
  const many = authority.repeat(Math.ceil(700_000 / authority.length))
  const configMap = (text: string, field = 'data') =>
    observeConfigMap({ metadata: {}, [field]: { 'ca.crt': field === 'data' ? text : btoa(text) } })

  it('and goes into a document is every one of them, and neither comments nor a key', () => {
    const comment = `# ${'x'.repeat(150_000)}\n`
    const text = `${comment}${authority}${clientKey}${comment}${clientCertificate}`
    for (const each of [text, text.replaceAll(comment, '')]) {
      const seen = configMap(each)
      const named = { ...seen, metadata: { ...seen.metadata, name: 'login' } }
      const { route } = plan(ofAuthority('ConfigMap', 'ca.crt'), named)
      expect(route?.tls?.ca).toBe(authority + clientCertificate)
    }
    const broken = configMap(text.replace('-----END', '-----'))
    const named = { ...broken, metadata: { ...broken.metadata, name: 'login' } }
    const { message } = plan(ofAuthority('ConfigMap', 'ca.crt'), named).verdicts.ResolvedRefs
    expect(message).toMatch(/holds no certificates in PEM/)
  })

  it('is found at once in a text that is made to take long', () => {
    const begun = '-----BEGIN CERTIFICATE-----'.repeat(35_000)
    for (let time = 0; time < 10; time++)
      expect(configMap(`${begun}-----END`).data['ca.crt']).toMatch(/^-----B/)
  })

  it.each([
    ['a Secret', 'Secret', (text: string) => secret('basic-auth', { 'ca.crt': text })],
    ['a ConfigMap', 'ConfigMap', (text: string) => configMap(text)],
    ['binary data', 'ConfigMap', (text: string) => configMap(text, 'binaryData')],
  ])('of %s is what goes into a document, and that it is too much', (_name, kind, of) => {
    const named = (text: string) => ({ ...of(text), metadata: { ...of(text).metadata, name: 'login' } })
    const spec = ofAuthority(kind, 'ca.crt')
    expect(plan(spec, named(authority)).route?.tls?.ca).toBe(authority)
    const { reason, message } = plan(spec, named(many)).verdicts.Accepted
    expect(reason).toBe('TooLarge')
    // what was cut says nothing of how long it was
    expect(message.match(/\d+/g)).toEqual([String(longestDocument - 1024)])
    expect(JSON.stringify(named(many)).length).toBeLessThan(400_000)
    expect(plan(spec, named(junk)).verdicts.ResolvedRefs.message).toMatch(/holds no certificates in PEM/)
    expect(JSON.stringify(named(junk)).length).toBeLessThan(1000)
    const unended = `-----BEGIN CERTIFICATE-----${junk}`
    expect(JSON.stringify(named(unended)).length).toBeLessThan(400_000)
  })
})
