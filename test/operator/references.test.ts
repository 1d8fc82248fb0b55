import { describe, expect, it } from 'vitest'
import { kinds } from '../../operator/api/kinds.ts'
import { formatField, parseResource } from '../../operator/api/parse.ts'
import { fields, type Reference, references, smuggledNames } from './api/references.ts'
import { createFakeCluster, resource, startFakeOperator } from './fake-cluster.ts'
import { authority, clientCertificate, clientKey } from './upstream/certificates.ts'

type Fields = Readonly<Record<string, unknown>>
type Json = Readonly<Record<string, unknown>>

interface Case {
  readonly field: string
  /** What it is called where the field may name several kinds. */
  readonly title?: string
  /** The spec of an object with this reference. */
  spec(ref: Json): Fields
  /** Beside `name`. */
  readonly ref?: Json
  /** What it is to refer to. */
  readonly target: { readonly plural: string; readonly object: Json }
  /** Of a text that only the target has: it is in a document where the reference holds. */
  readonly mark: string
}

const url = 'https://registry.example.com'
const host = { 'headwater.dev/registry-host': 'registry.example.com' }
const secret = (type: string, data: Readonly<Record<string, string>>, annotations = {}) => ({
  plural: 'secrets',
  object: {
    ...{ apiVersion: 'v1', kind: 'Secret', type, metadata: { annotations } },
    data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, btoa(text)])),
  },
})
const lineOf = (pem: string) => JSON.stringify(pem.split('\n')[1]).slice(1, -1)
const login = { username: 'me', password: 'canary-word' }

/** What a reference of each field does where it holds. A field without a case here is red below. */
const cases: readonly Case[] = [
  {
    field: 'Upstream spec.credentialsSecretRef',
    spec: (ref) => ({ url, credentialsSecretRef: ref }),
    target: secret('kubernetes.io/basic-auth', login, host),
    mark: 'canary-word',
  },
  {
    field: 'Upstream spec.tls.clientCertificateSecretRef',
    spec: (ref) => ({ url, tls: { clientCertificateSecretRef: ref } }),
    target: secret('kubernetes.io/tls', { 'tls.crt': clientCertificate, 'tls.key': clientKey }),
    mark: lineOf(clientKey),
  },
  {
    field: 'Upstream spec.tls.caCertificateRef',
    title: 'to a ConfigMap',
    spec: (ref) => ({ url, tls: { caCertificateRef: ref } }),
    target: {
      plural: 'configmaps',
      object: { apiVersion: 'v1', kind: 'ConfigMap', metadata: {}, data: { 'ca.crt': authority } },
    },
    mark: lineOf(authority),
  },
  {
    field: 'Upstream spec.tls.caCertificateRef',
    title: 'to a Secret',
    spec: (ref) => ({ url, tls: { caCertificateRef: ref } }),
    ref: { kind: 'Secret' },
    target: secret('kubernetes.io/tls', { 'ca.crt': authority }),
    mark: lineOf(authority),
  },
  {
    field: 'VirtualRegistry spec.upstreams[].upstreamRef',
    spec: (ref) => ({ upstreams: [{ upstreamRef: ref }] }),
    target: { plural: 'upstreams', object: resource('Upstream', 'target', { url }) },
    mark: url,
  },
]
/** Fields that choose among the objects of their own namespace, and name none. */
const selectors = ['CleanupPolicy spec.upstreamSelector']

const titleOf = ({ field, title }: Case) => [field, title].filter((part) => part !== undefined).join(' ')
const nameOf = ({ kind, field }: Pick<Reference, 'kind' | 'field'>) => `${kind} ${field}`
const kindOf = ({ field }: Case) => field.split(' ')[0] as 'Upstream' | 'VirtualRegistry'
const rows = cases.map((each) => [titleOf(each), each] as const)

/** What the operator makes of an object with such a reference, in the namespace `default`, and of what else is there. */
async function settled(each: Case, ref: Json, targets: Readonly<Record<string, Json>>) {
  const fake = createFakeCluster()
  for (const [namespace, more] of Object.entries(targets)) {
    const { object, plural } = each.target
    const metadata = { ...(object.metadata as Json), name: 'target', namespace, ...(more.metadata as Json) }
    fake.apply(plural, { ...object, ...more, metadata })
  }
  const plural = kindOf(each) === 'Upstream' ? 'upstreams' : 'virtualregistries'
  fake.apply(plural, resource(kindOf(each), 'it', each.spec({ ...each.ref, ...ref })))
  const operator = startFakeOperator(fake)
  await operator.untilIdle()
  await operator.stop()
  expect(operator.errors).toEqual([])
  const { status } = fake.get(plural, 'it')
  const conditions = status.conditions as { type: string; status: string; reason: string; message: string }[]
  const verdict = (type: string) => {
    const found = conditions.find((condition) => condition.type === type)
    return `${found?.status}/${found?.reason}`
  }
  const own = fake.documents().filter(({ route }) => route.namespace === 'default' && route.name === 'it')
  return { status, verdict, documents: JSON.stringify(own), said: JSON.stringify(status) }
}

describe('every field that refers to other objects', () => {
  it('has its cases here', () => {
    const known = new Set([...cases.map(({ field }) => field), ...selectors])
    expect(references.map(nameOf).toSorted()).toEqual([...known].toSorted())
  })

  it('is called so: nothing else is a name of an object, and nothing a namespace', () => {
    const all = fields().map(nameOf)
    const names = all.filter((field) => /(?:\.name|secret\w*|configMap\w*|serviceAccount\w*)$/i.test(field))
    const strays = names.filter((field) => !/(?:Refs?(?:\[\])?\.name|Refs?)$/.test(field))
    expect(strays).toEqual([])
    expect(all.filter((field) => /namespace/i.test(field))).toEqual([])
  })

  it.each(references.filter((each) => !selectors.includes(nameOf(each))).map((each) => [nameOf(each), each]))(
    '%s has a name and no namespace',
    (_title, { schema }) => {
      const known = Object.keys(schema.properties ?? {})
      expect(known).toContain('name')
      expect(known.filter((name) => !['name', 'kind', 'key'].includes(name))).toEqual([])
    },
  )

  it.each(selectors)('%s knows labels alone', (selector) => {
    const { schema } = references.find((each) => nameOf(each) === selector)!
    expect(Object.keys(schema.properties ?? {}).toSorted()).toEqual(['matchExpressions', 'matchLabels'])
  })
})

describe('K23: a reference', () => {
  it.each(rows)('%s holds within its namespace', async (_title, each) => {
    const { verdict, documents } = await settled(each, { name: 'target' }, { default: {} })
    expect([verdict('Accepted'), verdict('ResolvedRefs')]).toEqual(['True/Accepted', 'True/ResolvedRefs'])
    if (kindOf(each) === 'Upstream') expect(documents).toContain(each.mark)
  })

  it.each(rows)(
    '%s finds nothing in another namespace, whatever it says beside the name',
    async (_title, each) => {
      const nobody = await settled(each, { name: 'target' }, {})
      for (const more of [
        {},
        { namespace: 'other' },
        { group: '', kind: each.ref?.kind ?? 'ConfigMap', namespace: 'other' },
      ]) {
        const { verdict, documents, said } = await settled(each, { name: 'target', ...more }, { other: {} })
        expect([verdict('Accepted'), verdict('ResolvedRefs')]).toEqual(['True/Accepted', 'False/RefNotFound'])
        expect(documents).not.toContain(each.mark)
        // nobody learns whether it is there
        expect(said.replaceAll(/"lastTransitionTime":"[^"]*"/g, '')).toBe(
          nobody.said.replaceAll(/"lastTransitionTime":"[^"]*"/g, ''),
        )
      }
    },
  )

  it.each(rows)(
    '%s is not helped by a grant of the other namespace, nor by labels and annotations',
    async (_title, each) => {
      const grant = {
        'headwater.dev/allowed-namespaces': 'default',
        'reflector.v1.k8s.emberstack.com/reflects': 'default',
      }
      const metadata = { labels: grant, annotations: { ...host, ...grant } }
      const { verdict, documents } = await settled(each, { name: 'target' }, { other: { metadata } })
      expect(verdict('ResolvedRefs')).toBe('False/RefNotFound')
      expect(documents).not.toContain(each.mark)
    },
  )

  it.each(rows)('%s takes no name that means another namespace', async (_title, each) => {
    const { schema } = kinds.find(({ kind }) => kind === kindOf(each))!
    for (const name of smuggledNames) {
      const object = resource(kindOf(each), 'it', each.spec({ ...each.ref, name }))
      const { problems = [] } = parseResource(schema, {
        ...object,
        metadata: { name: 'it', namespace: 'default' },
      })
      const wanted = `${each.field.split(' ')[1]!.replace('[]', '[0]')}.name`
      expect([name, problems.map(({ path }) => formatField(path))]).toEqual([name, [wanted]])

      // and as it may have been stored before the schema refused it
      const { verdict, documents, said } = await settled(each, { name }, { other: {}, default: {} })
      expect([name, verdict('Accepted'), verdict('Stalled')]).toEqual([
        name,
        'False/InvalidSpec',
        'True/InvalidSpec',
      ])
      expect(documents + said).not.toContain(each.mark)
    }
  })
})

describe('a credential goes', () => {
  const [account, client] = cases as [Case, Case]
  const refused = async (each: Case, spec: Fields, more: Json, reason: string) => {
    const made = await settled(
      { ...each, spec: (ref) => ({ ...each.spec(ref), ...spec }) },
      { name: 'target' },
      { default: more },
    )
    expect(made.verdict('ResolvedRefs')).toBe(`False/${reason}`)
    expect(made.documents + made.said).not.toContain(each.mark)
    return made
  }

  it.each([
    ['another host', { url: 'https://evil.example' }],
    ['a host below', { url: 'https://x.registry.example.com' }],
    ['a host above', { url: 'https://example.com' }],
    ['another port', { url: 'https://registry.example.com:8443' }],
    ['a host that begins like it', { url: 'https://registry.example.com.evil.example' }],
  ])(
    'to no %s than its Secret names, so that who may write an Upstream cannot have it sent',
    async (_title, spec) => {
      const { verdict } = await refused(account, spec, {}, 'HostNotPermitted')
      expect(verdict('CredentialsValid')).toBe('False/HostNotPermitted')
      const auths = { auths: { 'registry.example.com': login } }
      await refused(
        account,
        spec,
        secret('kubernetes.io/dockerconfigjson', { '.dockerconfigjson': JSON.stringify(auths) }).object,
        'HostNotPermitted',
      )
    },
  )

  it('nowhere when its Secret names no host, or any', async () => {
    for (const annotations of [
      {},
      { 'headwater.dev/registry-host': '*' },
      { 'headwater.dev/registry-host': '' },
    ]) {
      const { object } = secret('kubernetes.io/basic-auth', login)
      await refused(account, {}, { ...object, metadata: { annotations } }, 'HostNotPermitted')
    }
    for (const key of ['*', 'https://*', '*.example.com', '']) {
      const auths = { auths: { [key]: login } }
      const more = secret('kubernetes.io/dockerconfigjson', {
        '.dockerconfigjson': JSON.stringify(auths),
      }).object
      await refused(account, {}, more, 'HostNotPermitted')
    }
  })

  it('over no plain text that its Secret does not allow', async () => {
    await refused(account, { url: 'http://registry.example.com' }, {}, 'PlainHttpNotPermitted')
  })

  it.each(rows.filter(([, { target }]) => target.plural === 'secrets'))(
    'by %s from no Secret of another type',
    async (_title, each) => {
      for (const type of ['Opaque', 'kubernetes.io/service-account-token', 'helm.sh/release.v1']) {
        await refused(each, {}, { type }, 'RefNotFound')
      }
    },
  )

  it('into no document as what it is not: a key where certificates belong', async () => {
    for (const key of ['tls.key', 'tls.crt', 'password']) {
      const spec = { tls: { caCertificateRef: { kind: 'Secret', name: 'target', key } } }
      const data = { 'tls.key': clientKey, 'tls.crt': 'canary-word', password: 'canary-word' }
      const made = await settled(
        { ...client, spec: () => ({ url, ...spec }) },
        {},
        { default: secret('kubernetes.io/tls', data).object },
      )
      expect(made.verdict('ResolvedRefs')).toBe('False/CertificateInvalid')
      for (const text of ['canary-word', lineOf(clientKey)])
        expect(made.documents + made.said).not.toContain(text)
    }
  })
})
