import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createCrd, type Schema } from '../../../operator/api/crd.ts'
import { kinds } from '../../../operator/api/kinds.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type ApiAnswer, mustSucceed, serverSideApply } from '../../rig/kubernetes/api-client.ts'
import { type ApiServer, apiServerParts, startApiServer } from '../../rig/kubernetes/api-server.ts'

const apiVersion = 'headwater.dev/v1alpha1'

/** Names of all fields below a schema, as paths. */
function fieldsOf(schema: Schema, path: string): string[] {
  const fields = Object.entries(schema.properties ?? {}).flatMap(([name, field]) => [
    `${path}.${name}`,
    ...fieldsOf(field, `${path}.${name}`),
  ])
  return schema.items ? [...fields, ...fieldsOf(schema.items, path)] : fields
}

function condition(type: string, status: string, reason: string, message: string) {
  return { type, status, reason, message, observedGeneration: 1, lastTransitionTime: '2026-11-22T05:00:00Z' }
}

describeWithParts(apiServerParts, 'the kinds on a real API server', () => {
  let server: ApiServer
  let namespace: string
  const pathOf = (plural: string, name: string) =>
    `/apis/${apiVersion}/namespaces/${namespace}/${plural}/${name}`
  const get = (plural: string, name: string) => server.client.request('GET', pathOf(plural, name))
  const apply = (resource: object) => server.mustKubectl(['apply', '-f', '-'], JSON.stringify(resource))
  const resource = (kind: string, name: string, spec?: object) => ({
    apiVersion,
    kind,
    metadata: { name, namespace },
    ...(spec && { spec }),
  })
  const upstreams = [{ upstreamRef: { name: 'hub' } }]

  beforeAll(async () => {
    server = await startApiServer({ crds: false })
    namespace = await server.createNamespace('team-a')
  })
  afterAll(() => server?.close())

  it('are taken without a complaint, and again without a change', async () => {
    const first = await server.kubectl(['apply', '--server-side', '-f', 'crds/'])
    expect(first).toMatchObject({ code: 0, stderr: '' })
    expect(first.stdout.match(/serverside-applied/g)).toHaveLength(3)
    await server.mustKubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s'])
    const again = await server.kubectl(['apply', '-f', 'crds/'])
    expect(again.code).toBe(0)
    const { body } = await server.client.request(
      'GET',
      '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
    )
    for (const crd of body.items) {
      const said = crd.status.conditions.map(
        (each: { type: string; status: string }) => `${each.type}=${each.status}`,
      )
      expect(said.sort()).toEqual(['Established=True', 'NamesAccepted=True'])
    }
  })

  it('fill in every default where it can be seen', async () => {
    await apply(
      resource('Upstream', 'hub', {
        url: 'https://registry-1.docker.io',
        tls: { caCertificateRef: { name: 'ca' } },
      }),
    )
    await apply(
      resource('VirtualRegistry', 'platform', {
        upstreams,
        access: { rules: [{ subjects: [{ type: 'Anonymous' }], verbs: ['Pull'] }] },
      }),
    )
    await apply(resource('CleanupPolicy', 'weekly'))
    expect((await get('upstreams', 'hub')).body).toMatchObject({
      metadata: { generation: 1 },
      spec: {
        url: 'https://registry-1.docker.io',
        tls: { caCertificateRef: { kind: 'ConfigMap', name: 'ca', key: 'ca.crt' } },
        revalidation: { policy: 'AfterValidity', validitySeconds: 86400 },
        mode: 'Active',
      },
      status: { observedGeneration: -1 },
    })
    expect((await get('virtualregistries', 'platform')).body).toMatchObject({
      spec: {
        upstreams: [
          { upstreamRef: { name: 'hub' }, repositories: { include: ['**'] }, failurePolicy: 'Fail' },
        ],
        access: { rules: [{ subjects: [{ type: 'Anonymous' }], verbs: ['Pull'], repositories: ['**'] }] },
        blobDelivery: 'Proxy',
        serving: 'Enabled',
      },
      status: { observedGeneration: -1 },
    })
    expect((await get('cleanuppolicies', 'weekly')).body).toMatchObject({
      spec: {
        keepAfterDownloadDays: 30,
        schedule: { cadence: 'Weekly', timeOfDay: '03:00', timeZone: 'Etc/UTC' },
        mode: 'Delete',
        suspend: false,
      },
      status: { observedGeneration: -1 },
    })
  })

  it('do not fill objects with empty lists', async () => {
    expect(JSON.stringify((await get('virtualregistries', 'platform')).body.spec)).not.toContain('[]')
    expect(JSON.stringify((await get('upstreams', 'hub')).body.spec)).not.toContain('[]')
  })

  it('keep spec and status apart, and count generations by the spec alone', async () => {
    const path = pathOf('upstreams', 'hub')
    const change = { spec: { mode: 'CacheOnly' }, status: { cache: { entries: 7 } } }
    const first = mustSucceed(await server.client.request('PATCH', path, change))
    expect(first).toMatchObject({ metadata: { generation: 2 }, spec: { mode: 'CacheOnly' } })
    expect(first.status).toEqual({ observedGeneration: -1 })

    const back = { spec: { mode: 'Active' }, status: { observedGeneration: 2, cache: { entries: 7 } } }
    const second = mustSucceed(await server.client.request('PATCH', `${path}/status`, back))
    expect(second).toMatchObject({ metadata: { generation: 2 }, spec: { mode: 'CacheOnly' } })
    expect(second.status).toEqual({ observedGeneration: 2, cache: { entries: 7 } })
  })

  it('merge conditions of several writers by their type', async () => {
    const path = `${pathOf('virtualregistries', 'platform')}/status`
    const write = (manager: string, type: string): Promise<ApiAnswer> =>
      server.client.request(
        'PATCH',
        `${path}?fieldManager=${manager}`,
        {
          ...resource('VirtualRegistry', 'platform'),
          status: { conditions: [condition(type, 'True', 'Fine', '')] },
        },
        serverSideApply,
      )
    mustSucceed(await write('one', 'Accepted'))
    const { status } = mustSucceed(await write('other', 'Programmed'))
    expect(status.conditions.map(({ type }: { type: string }) => type).sort()).toEqual([
      'Accepted',
      'Programmed',
    ])
  })

  it.each([
    ['a reason that is a sentence', condition('Ready', 'False', 'not found', ''), /reason/],
    ['a status that is none', condition('Ready', 'No', 'NotFound', ''), /Unsupported value: "No"/],
    [
      'a time that is none',
      { ...condition('Ready', 'True', 'Fine', ''), lastTransitionTime: 'now' },
      /date-time/,
    ],
  ])('refuse a condition with %s', async (_, bad, message) => {
    const path = `${pathOf('virtualregistries', 'platform')}/status`
    const { status, body } = await server.client.request('PATCH', path, { status: { conditions: [bad] } })
    expect(status).toBe(422)
    expect(body.message).toMatch(message)
  })

  it('prune what they do not know, and refuse it to kubectl', async () => {
    const object = resource('Upstream', 'other', {
      url: 'https://quay.io',
      credentialsSecretRef: { name: 'a', namespace: 'b' },
    })
    const list = `/apis/${apiVersion}/namespaces/${namespace}/upstreams`
    const stored = mustSucceed(await server.client.request('POST', list, object))
    expect(stored.spec.credentialsSecretRef).toEqual({ name: 'a' })
    const { code, stderr } = await server.kubectl(
      ['apply', '--dry-run=server', '-f', '-'],
      JSON.stringify(object),
    )
    expect(code).toBe(1)
    expect(stderr).toContain('unknown field "spec.credentialsSecretRef.namespace"')
  })

  it('are found by their short names, their category and their fields', async () => {
    const names = async (...args: string[]) =>
      (await server.mustKubectl(['get', '-n', namespace, '-o', 'name', ...args])).trim().split('\n').sort()
    expect(await names('headwater')).toEqual([
      'cleanuppolicy.headwater.dev/weekly',
      'upstream.headwater.dev/hub',
      'upstream.headwater.dev/other',
      'virtualregistry.headwater.dev/platform',
    ])
    expect(await names('cpol,vreg')).toEqual([
      'cleanuppolicy.headwater.dev/weekly',
      'virtualregistry.headwater.dev/platform',
    ])
    expect(await names('ups', '--field-selector', 'spec.url=https://quay.io')).toEqual([
      'upstream.headwater.dev/other',
    ])
    expect(await names('ups', '--field-selector', 'spec.mode=CacheOnly')).toEqual([
      'upstream.headwater.dev/hub',
    ])
    expect(await names('ups', '--field-selector', 'spec.credentialsSecretRef.name=a')).toEqual([
      'upstream.headwater.dev/other',
    ])
    expect(await names('cpol', '--field-selector', 'spec.suspend=false')).toEqual([
      'cleanuppolicy.headwater.dev/weekly',
    ])
  })

  describe('kubectl explain', () => {
    it.each(kinds)('knows every field of $kind and leaves none undescribed', async (kind) => {
      const { properties = {} } = createCrd(kind).spec.versions[0]!.schema.openAPIV3Schema
      const { body } = await server.client.request('GET', `/openapi/v3/apis/${apiVersion}`)
      const published: Schema = body.components.schemas[`dev.headwater.v1alpha1.${kind.kind}`]
      const known = new Map(describedFields(published, kind.shortName))
      const wanted = (['spec', 'status'] as const).flatMap((part) =>
        fieldsOf(properties[part]!, `${kind.shortName}.${part}`),
      )
      expect(wanted.filter((field) => !known.get(field))).toEqual([])

      const text = await server.mustKubectl(['explain', `${kind.shortName}.spec`, '--recursive'])
      expect(text).not.toMatch(/<empty>|<no description>/)
      for (const field of fieldsOf(properties.spec!, ''))
        expect(text).toMatch(new RegExp(`^ +${field.split('.').at(-1)}\t`, 'm'))
    })

    it('says what is required, what may be chosen and what is the default', async () => {
      const text = await server.mustKubectl(['explain', 'vreg.spec.upstreams'])
      expect(text).toContain('-required-')
      expect(text).toContain('enum: Fail, Ignore')
      expect(text).not.toMatch(/<empty>|<no description>/)
    })
  })

  it('have columns that tell at a glance what is served', async () => {
    const url = 'https://registry.example.com/team-a/platform'
    const ready = condition('Ready', 'True', 'Programmed', 'Served by 2 of 2 proxies.')
    const write = async (plural: string, name: string, status: object) =>
      mustSucceed(await server.client.request('PATCH', `${pathOf(plural, name)}/status`, { status }))
    await write('virtualregistries', 'platform', { conditions: [ready], url, upstreamCount: 1 })
    await apply(
      resource('VirtualRegistry', 'broken', { upstreams: [...upstreams, { upstreamRef: { name: 'qay' } }] }),
    )
    await write('virtualregistries', 'broken', {
      conditions: [condition('Ready', 'False', 'RefNotFound', 'There is no Upstream qay in this namespace.')],
      upstreamCount: 2,
    })
    await write('upstreams', 'hub', {
      conditions: [ready, condition('Reachable', 'True', 'Answered', '')],
      cache: { entries: 1204, bytes: 73014444032 },
    })
    const lastRun = { startTime: new Date(Date.now() - 3 * 86_400_000).toISOString(), deleted: 311 }
    await write('cleanuppolicies', 'weekly', { conditions: [ready], lastRun })

    const text = await server.mustKubectl(['get', 'headwater', '-A'])
    const rows = text
      .trimEnd()
      .split('\n')
      .map((line) => line.trimEnd().split(/ {2,}/))
    const row = (name: string) => rows.find((cells) => cells[1]?.endsWith(`/${name}`))!.slice(2, -1)
    expect(
      rows.filter(([first]) => first === 'NAMESPACE').map((cells) => cells.slice(2).join(' | ')),
    ).toEqual([
      'READY | CADENCE | MODE | SUSPENDED | LAST RUN | DELETED | REASON | AGE',
      'READY | REACHABLE | URL | ENTRIES | REASON | AGE',
      'READY | URL | UPSTREAMS | REASON | AGE',
    ])
    expect(row('platform')).toEqual(['True', url, '1', 'Programmed'])
    expect(row('broken').at(0)).toBe('False')
    expect(row('broken').slice(-2)).toEqual(['2', 'RefNotFound'])
    expect(row('hub')).toEqual(['True', 'True', 'https://registry-1.docker.io', '1204', 'Programmed'])
    expect(row('weekly')).toEqual(['True', 'Weekly', 'Delete', 'false', '3d', '311', 'Programmed'])
    const widest = Math.max(...text.split('\n').map((line) => line.length))
    expect(widest).toBeLessThan(160)
  })
})

/** Every field that has a description in a schema as it is published. */
function describedFields(schema: Schema, path: string): [string, boolean][] {
  const fields = Object.entries(schema.properties ?? {}).flatMap(([name, field]): [string, boolean][] => [
    [`${path}.${name}`, !!field.description],
    ...describedFields(field, `${path}.${name}`),
  ])
  return schema.items ? [...fields, ...describedFields(schema.items, path)] : fields
}
