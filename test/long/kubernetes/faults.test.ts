import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parse } from 'yaml'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { registryStore } from '../../rig/image-store.ts'
import { pushImage } from '../../rig/images.ts'
import { mustSucceed } from '../../rig/kubernetes/api-client.ts'
import { type ApiServer, apiServerParts, startApiServer } from '../../rig/kubernetes/api-server.ts'
import { startControllers } from '../../rig/kubernetes/controllers.ts'
import {
  type Installation,
  install,
  type OperatorProcess,
  type ProxyProcess,
  until,
} from '../../rig/kubernetes/installation.ts'
import { type Registry, startRegistry } from '../../rig/registry.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'

const isShort = process.env.HEADWATER_SHORT === '1'
/** Of those that are stored with another shape than the schema has. */
const shapeless = ['shapeless', 'numbers']
const pluralOf = (kind: string) => (kind === 'Upstream' ? 'upstreams' : 'virtualregistries')
const apis = '/apis/headwater.dev/v1alpha1/namespaces'
const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'

// biome-ignore lint/suspicious/noExplicitAny: as JSON comes
type Body = any

describeWithParts(
  [...apiServerParts, 'registry', 'htpasswd', 'kube-controller-manager'],
  'an installation whose objects are in others’ hands',
  () => {
    let server: ApiServer
    let headwater: Installation
    let operator: OperatorProcess
    let proxy: ProxyProcess
    let upstream: Registry
    const pull = async (tag: string, path = 'default/all') =>
      (await proxy.get(`/v2/${path}/team/app/manifests/${tag}`)).status
    const typed = ({ status }: Body, type: string) =>
      status.conditions.find((each: Body) => each.type === type)
    const startOperator = async () => {
      operator = await headwater.startOperator()
      await until(() => /"leading":true/.test(operator.log()))
    }

    beforeAll(async () => {
      ;[server, upstream] = await Promise.all([startApiServer(), startRegistry()])
      headwater = await install(server)
      for (const tag of ['1', '2', '3']) {
        await pushImage(registryStore(upstream), 'team/app', { tag, seed: Number(tag) })
      }
      await startOperator()
      proxy = await headwater.startProxy()
      await headwater.apply([
        ...upstreamResources('hub', { url: upstream.url }),
        ...upstreamResources('spare', { url: upstream.url }),
        registryResource('all', ['hub', 'spare']),
      ])
      await headwater.condition('virtualregistries', 'all', { type: 'Ready', status: 'True' })
      await until(async () => (await pull('1')) === 200)
    })
    afterAll(async () => {
      await headwater?.close()
      await Promise.all([upstream?.close(), server?.close()])
    })

    it('K7: takes nothing from a writer who changes spec and status of the same objects all the time', async () => {
      const path = `${apis}/default/virtualregistries/all`
      const ends = Date.now() + (isShort ? 3000 : 20_000)
      const theirs = { ...{ type: 'Watched', status: 'True', reason: 'Seen', message: 'by another program' } }
      let turns = 0
      for (; Date.now() < ends; turns++) {
        const order = turns % 2 === 0 ? ['spare', 'hub'] : ['hub', 'spare']
        const upstreams = order.map((name) => ({ upstreamRef: { name } }))
        const annotations = { 'example.com/turn': String(turns) }
        mustSucceed(
          await server.client.request('PATCH', path, { metadata: { annotations }, spec: { upstreams } }),
        )
        const condition = {
          ...theirs,
          ...{ observedGeneration: turns, lastTransitionTime: '2026-11-22T00:00:00Z' },
        }
        const { apiVersion, kind, metadata } = await headwater.get('virtualregistries', 'all')
        const body = {
          apiVersion,
          kind,
          metadata: { name: metadata.name },
          status: { conditions: [condition] },
        }
        const query = '/status?fieldManager=another&force=true'
        mustSucceed(await server.client.request('PATCH', path + query, body, 'application/apply-patch+yaml'))
      }
      expect(turns).toBeGreaterThan(10)
      const isReady = { type: 'Ready', status: 'True' }
      const { metadata, spec, status } = await headwater.condition('virtualregistries', 'all', isReady)
      // neither wrote over what is the other's
      expect(metadata.annotations['example.com/turn']).toBe(String(turns - 1))
      const first = turns % 2 === 0 ? 'hub' : 'spare'
      expect(spec.upstreams[0].upstreamRef.name).toBe(first)
      expect(typed({ status }, 'Watched')).toMatchObject({ ...theirs, observedGeneration: turns - 1 })
      const ours = metadata.managedFields.filter((each: Body) => each.manager.startsWith('headwater'))
      expect(ours.map((each: Body) => [each.manager, each.operation, each.subresource])).toEqual([
        ['headwater-operator-status', 'Apply', 'status'],
      ])
      expect(Object.keys(ours[0].fieldsV1)).toEqual(['f:status'])
      // what is served is what was written last
      const route = (await headwater.documents()).find((each) => each.route.name === 'all').route
      expect(route.upstreams[0].name).toBe(first)
      await headwater.apply([registryResource('all', ['hub', 'spare'])])
      await headwater.condition('virtualregistries', 'all', isReady)
    })

    it('K13: says which Upstream is gone, answers for it with 503 and serves by digest, until it is back', async () => {
      const digest = (await proxy.get('/v2/default/all/team/app/manifests/1')).headers.get(
        'docker-content-digest',
      )!
      await headwater.whenTaken(() => headwater.remove('upstream', 'hub'), [proxy])
      const wanted = { type: 'ResolvedRefs', status: 'False', reason: 'RefNotFound' }
      const gone = await headwater.condition('virtualregistries', 'all', wanted)
      expect(typed(gone, 'Ready')).toMatchObject({ status: 'False', reason: 'RefNotFound' })
      expect(typed(gone, 'Ready').message).toContain('Upstream hub: there is no such Upstream')
      // it keeps its place: nobody gets by a tag what the next one has under the same name
      const answer = await proxy.get('/v2/default/all/team/app/manifests/2')
      expect([answer.status, answer.headers.has('retry-after')]).toEqual([503, true])
      expect(await answer.json()).toMatchObject({ errors: [{ code: expect.any(String) }] })
      // a digest cannot be another image
      expect(await pull(digest)).toBe(200)

      const upstreamGets = upstream.requests('GET', '/manifests/')
      await headwater.whenTaken(
        () => headwater.apply(upstreamResources('hub', { url: upstream.url })),
        [proxy],
      )
      await headwater.condition('virtualregistries', 'all', { type: 'Ready', status: 'True' })
      expect(await pull('1')).toBe(200)
      expect(upstream.requests('GET', '/manifests/')).toBe(upstreamGets) // under the id it had, its cache is its own again
      expect(await pull('2')).toBe(200)
    })

    it('K19: drops what is served of a namespace that was deleted while no operator ran', async () => {
      const namespace = await server.createNamespace('to-go')
      await headwater.apply([
        ...upstreamResources('hub', {
          url: upstream.url,
          username: 'me',
          password: 'canary-gone',
          namespace,
        }),
        registryResource('all', ['hub'], { namespace }),
      ])
      await until(async () => (await pull('1', 'to-go/all')) === 200)
      await operator.stop()
      const controllers = await startControllers(server)
      try {
        await server.mustKubectl(['delete', 'namespace', namespace, '--timeout=90s'])
      } finally {
        await controllers.stop()
      }
      expect(await pull('1', 'to-go/all')).toBe(200) // nobody has said otherwise yet
      await startOperator()
      await until(async () => (await pull('1', 'to-go/all')) === 404)
      expect(JSON.stringify(await headwater.documents())).not.toContain('to-go')
    })

    it('K24: goes on over objects that a looser schema let in, says what is wrong with each, and lets them be mended', async () => {
      await operator.stop()
      const crds = ['upstreams', 'virtualregistries'].map((each) => `${each}.headwater.dev`)
      for (const name of crds) await loosen(name)
      const bad: Body[] = [
        resource('Upstream', 'scheme', { url: 'ftp://registry.example.com' }),
        resource('Upstream', 'words', {
          url: upstream.url,
          mode: 'Sometimes',
          revalidation: { validitySeconds: 0 },
        }),
        resource('Upstream', 'shapeless', { url: { host: 'x' }, tokenServiceHosts: 'auth' }),
        resource('Upstream', 'huge', {
          url: upstream.url,
          mirrorOf: Array.from({ length: 9000 }, (_, at) => `m${at}.example.com`),
        }),
        resource('VirtualRegistry', 'empty', { upstreams: [] }),
        resource('VirtualRegistry', 'climbing', {
          upstreams: [{ upstreamRef: { name: 'hub' } }],
          path: '../v2/x',
        }),
        resource('VirtualRegistry', 'twice', {
          upstreams: [{ upstreamRef: { name: 'hub' } }, { upstreamRef: { name: 'hub' } }],
        }),
        resource('VirtualRegistry', 'numbers', { upstreams: [7], access: 'everybody' }),
        resource('VirtualRegistry', 'bare', undefined),
      ]
      for (const object of bad) {
        const path = `${apis}/default/${pluralOf(object.kind)}`
        // it takes the API server a moment to take to another schema
        await until(async () => (await server.client.request('POST', path, object)).status === 201)
      }
      for (const name of crds) await tighten(name)
      await startOperator()
      for (const { kind, metadata } of bad.filter(({ metadata: { name } }) => !shapeless.includes(name))) {
        const wanted = { type: 'Accepted', status: 'False', reason: 'InvalidSpec' }
        const { status } = await headwater.condition(pluralOf(kind), metadata.name, wanted)
        expect(typed({ status }, 'Ready')).toMatchObject({ status: 'False', reason: 'InvalidSpec' })
        expect(typed({ status }, 'Accepted').message).toMatch(/spec/)
      }
      // the API server takes no status for what has another shape than the schema: there are events
      for (const name of shapeless) {
        const args = ['events', '--for', `${name === 'numbers' ? 'virtualregistry' : 'upstream'}/${name}`]
        await until(
          async () => /InvalidSpec.*spec/.test(await server.mustKubectl(args)),
          () => name,
        )
      }
      expect(operator.log()).not.toContain('could not be reconciled')
      expect(await pull('3')).toBe(200)
      const names = (await headwater.documents()).map(({ route }) => route.name)
      expect(names.toSorted()).toEqual(['all', 'hub', 'spare'])
      await headwater.apply([
        ...upstreamResources('scheme', { url: upstream.url }),
        registryResource('empty', ['scheme']),
      ])
      await headwater.condition('virtualregistries', 'empty', { type: 'Ready', status: 'True' })
      await until(async () => (await pull('3', 'default/empty')) === 200)

      // and nothing goes in a circle over what stays bad
      const versions = async () =>
        Promise.all(
          bad.map(async ({ kind, metadata }) => {
            return (await headwater.get(pluralOf(kind), metadata.name)).metadata.resourceVersion
          }),
        )
      await sleep(1000)
      const before = await versions()
      await sleep(isShort ? 2000 : 10_000)
      expect(await versions()).toEqual(before)
      await server.mustKubectl(['delete', 'virtualregistries,upstreams', '--all', '--wait=false'])
      await until(async () => (await headwater.documents()).length === 0)
    })

    const resource = (kind: string, name: string, spec: unknown) => ({
      apiVersion: 'headwater.dev/v1alpha1',
      ...{ kind, metadata: { name }, spec },
    })

    /** Has the definition take anything, as an early version of it might have. */
    async function loosen(name: string): Promise<void> {
      const crd = mustSucceed(await server.client.request('GET', `${definitions}/${name}`))
      const anything = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }
      for (const version of crd.spec.versions) {
        version.schema.openAPIV3Schema = { type: 'object', properties: { spec: anything, status: anything } }
        version.selectableFields = undefined
      }
      mustSucceed(await server.client.request('PUT', `${definitions}/${name}`, crd))
    }

    async function tighten(name: string): Promise<void> {
      const [plural, group] = [name.split('.')[0], name.split('.').slice(1).join('.')]
      const committed = parse(await readFile(`crds/${group}_${plural}.yaml`, 'utf8'))
      const { metadata } = mustSucceed(await server.client.request('GET', `${definitions}/${name}`))
      const { resourceVersion } = metadata
      const crd = { ...committed, metadata: { ...committed.metadata, resourceVersion } }
      mustSucceed(await server.client.request('PUT', `${definitions}/${name}`, crd))
      const refused = resource('Upstream', 'refused', { url: 'ftp://x' })
      if (plural !== 'upstreams') return
      await until(async () => {
        const answer = await server.client.request('POST', `${apis}/default/upstreams?dryRun=All`, refused)
        return answer.status === 422
      })
    }
  },
)
