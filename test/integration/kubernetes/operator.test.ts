import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { runClient } from '../../rig/clients/run-client.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { temporaryFolder } from '../../rig/headwater.ts'
import { registryStore } from '../../rig/image-store.ts'
import { pushImage } from '../../rig/images.ts'
import { type ApiServer, apiServerParts, startApiServer } from '../../rig/kubernetes/api-server.ts'
import {
  type Installation,
  install,
  type OperatorProcess,
  type ProxyProcess,
  routesNamespace,
  until,
} from '../../rig/kubernetes/installation.ts'
import { kstatus } from '../../rig/kubernetes/kstatus.ts'
import { needPart } from '../../rig/parts.ts'
import { type Registry, startRegistry } from '../../rig/registry.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'

describeWithParts([...apiServerParts, 'registry', 'crane', 'htpasswd'], 'the operator and a proxy', () => {
  let server: ApiServer
  let headwater: Installation
  let operator: OperatorProcess
  let proxy: ProxyProcess
  let first: Registry
  let second: Registry

  beforeAll(async () => {
    ;[server, first, second] = await Promise.all([
      startApiServer(),
      startRegistry(),
      startRegistry({ auth: 'basic' }),
    ])
    headwater = await install(server)
    for (const [seed, registry] of [first, second].entries()) {
      for (const tag of ['1', '2', '3', '4', '5', '6']) {
        await pushImage(registryStore(registry), 'team/app', { tag, seed: 10 * Number(tag) + seed })
      }
    }
    operator = await headwater.startOperator([
      ...['--grant-path', 'default=hub', '--external-url', 'https://registry.example.com'],
    ])
    proxy = await headwater.startProxy()
  })
  afterAll(async () => {
    await headwater?.close()
    await Promise.all([first?.close(), second?.close(), server?.close()])
  })

  const own = (name: string, registry: Registry, more: object = {}) =>
    upstreamResources(name, {
      url: registry.url,
      ...(registry.username === undefined
        ? {}
        : { username: registry.username, password: registry.password ?? '' }),
      ...more,
    })
  const digestAt = async (path: string) =>
    (await proxy.get(path, { method: 'HEAD' })).headers.get('docker-content-digest')
  const whenTaken = (change: () => Promise<unknown>) => headwater.whenTaken(change, [proxy])
  const upstreamDigest = async (registry: Registry, tag: string) => {
    const { username, password } = registry
    const basic = Buffer.from(`${username}:${password}`).toString('base64')
    const headers = {
      accept: 'application/vnd.oci.image.manifest.v1+json',
      ...(username === undefined ? {} : { authorization: `Basic ${basic}` }),
    }
    const answer = await fetch(`${registry.url}/v2/team/app/manifests/${tag}`, { method: 'HEAD', headers })
    return answer.headers.get('docker-content-digest')
  }

  it('is not ready before there are routes to serve, and ready with none', async () => {
    await until(() => proxy.isReady())
    expect((await proxy.get('/v2/default/all/team/app/manifests/1')).status).toBe(404)
    await until(async () => (await fetch(`${operator.adminUrl}/readyz`)).status === 200)
  })

  it('makes the resources of an example Ready, with a document for each', async () => {
    const example = await readFile('examples/standalone.yaml', 'utf8')
    await headwater.apply(parseAllDocuments(example).map((each) => each.toJS()))
    const hub = await headwater.condition('virtualregistries', 'hub', { type: 'Ready', status: 'True' })
    expect(hub.status.url).toBe('https://registry.example.com/hub')
    for (const name of ['docker-hub', 'dhi', 'quay', 'mcr', 'ghcr']) {
      await headwater.condition('upstreams', name, { type: 'Ready', status: 'True' })
    }
    expect(await headwater.documents()).toHaveLength(6)
    await server.mustKubectl(['delete', '-f', 'examples/standalone.yaml', '--wait=false'])
    await until(async () => (await headwater.documents()).length === 0)
  })

  it('has what was applied pulled with crane', async () => {
    await headwater.apply([
      ...own('first', first),
      ...own('second', second),
      registryResource('all', ['first', 'second']),
    ])
    await headwater.condition('virtualregistries', 'all', { type: 'Ready', status: 'True' })
    await until(async () => (await digestAt('/v2/default/all/team/app/manifests/1')) !== null)
    const image = `${proxy.host}/default/all/team/app:1`
    const config = await temporaryFolder()
    const env = { DOCKER_CONFIG: config }
    await runClient(needPart('crane'), ['pull', image, join(config, 'image.tar')], { env })
    const digest = await runClient(needPart('crane'), ['digest', image], { env })
    expect(digest.trim()).toBe(await upstreamDigest(first, '1'))
  })

  it('asks upstreams in another order once that is written, for what is not cached', async () => {
    await whenTaken(() => headwater.apply([registryResource('all', ['second', 'first'])]))
    expect(await digestAt('/v2/default/all/team/app/manifests/2')).toBe(await upstreamDigest(second, '2'))
    // what was cached stays where it is from
    expect(await digestAt('/v2/default/all/team/app/manifests/1')).toBe(await upstreamDigest(first, '1'))
  })

  it('K11 and K12: takes a rotated Secret, and never goes anonymous over a missing one', async () => {
    const login = own('second', second).filter(({ kind }) => kind === 'Secret')
    const rotate = (password: string) =>
      headwater.apply(login.map((each) => ({ ...each, stringData: { username: second.username, password } })))
    const cold = async (tag: string) => (await proxy.get(`/v2/default/all/team/app/manifests/${tag}`)).status

    expect(await cold('2')).toBe(200)
    await whenTaken(() => rotate('canary-wrong'))
    expect([await cold('3'), await cold('2')]).toEqual([503, 200])
    await whenTaken(() => rotate(second.password ?? ''))
    expect(await cold('3')).toBe(200)

    await whenTaken(() => headwater.remove('secret', 'second-login'))
    const { status } = await headwater.condition('upstreams', 'second', {
      ...{ type: 'Ready', status: 'False', reason: 'RefNotFound' },
    })
    expect(
      status.conditions.find((each: { type: string }) => each.type === 'CredentialsValid'),
    ).toMatchObject({
      status: 'False',
      reason: 'RefNotFound',
      message: expect.stringContaining('there is no Secret second-login of type'),
    })
    await headwater.condition('virtualregistries', 'all', {
      type: 'Ready',
      status: 'False',
      reason: 'UpstreamNotReady',
    })
    expect([await cold('4'), await cold('2'), await cold('3')]).toEqual([503, 200, 200])

    await whenTaken(() => rotate(second.password ?? ''))
    expect(await cold('4')).toBe(200)
    await headwater.condition('virtualregistries', 'all', { type: 'Ready', status: 'True' })
  })

  it('refuses a disabled registry as one that is unknown, and serves it again', async () => {
    const path = '/v2/default/all/team/app/manifests/2'
    await headwater.apply([registryResource('all', ['second', 'first'], { spec: { serving: 'Disabled' } })])
    await until(async () => (await proxy.get(path)).status === 404)
    await headwater.apply([registryResource('all', ['second', 'first'], { spec: { serving: 'Enabled' } })])
    await until(async () => (await proxy.get(path)).status === 200)
  })

  it('serves what was accepted last while a spec is not accepted, and says so in status and events', async () => {
    await headwater.apply([registryResource('all', ['second', 'first'], { spec: { path: 'elsewhere' } })])
    const broken = await headwater.condition('virtualregistries', 'all', {
      ...{ type: 'Accepted', status: 'False', reason: 'PathNotPermitted' },
    })
    expect(broken.status.conditions[0]).toMatchObject({
      type: 'Ready',
      status: 'False',
      reason: 'PathNotPermitted',
    })
    expect(kstatus(broken)).toBe('Failed')
    expect((await proxy.get('/v2/default/all/team/app/manifests/2')).status).toBe(200)
    await until(async () => (await server.mustKubectl(['events'])).includes('PathNotPermitted'))
    await headwater.apply([
      registryResource('all', ['second', 'first'], { spec: { path: 'default/mended' } }),
    ])
    const mended = await headwater.condition('virtualregistries', 'all', { type: 'Ready', status: 'True' })
    expect(kstatus(mended)).toBe('Current')
    await until(async () => (await proxy.get('/v2/default/mended/team/app/manifests/2')).status === 200)
    expect((await proxy.get('/v2/default/all/team/app/manifests/2')).status).toBe(404)
  })

  it('keeps a path with its incumbent, and gives it to the next when it is free', async () => {
    const path = { spec: { path: 'default/mended/below' } }
    await headwater.apply([registryResource('other', ['first'], path)])
    const loser = await headwater.condition('virtualregistries', 'other', {
      ...{ type: 'Accepted', status: 'False', reason: 'PathConflict' },
    })
    expect(loser.status.conditions[1].message).toContain('VirtualRegistry all')
    await headwater.apply([registryResource('all', ['second', 'first'], { spec: { path: 'default/all' } })])
    await headwater.condition('virtualregistries', 'other', { type: 'Ready', status: 'True' })
    await until(async () => (await proxy.get('/v2/default/mended/below/team/app/manifests/1')).status === 200)
    await headwater.remove('virtualregistry', 'other')
  })

  it('has registries change places in one kubectl apply, each served by itself alone', async () => {
    const at = (paths: readonly string[]) => [
      registryResource('one', ['first'], { spec: { path: `default/${paths[0]}` } }),
      registryResource('two', ['second'], { spec: { path: `default/${paths[1]}` } }),
    ]
    const digests = () =>
      Promise.all(['left', 'right'].map((path) => digestAt(`/v2/default/${path}/team/app/manifests/6`)))
    const wanted = [await upstreamDigest(first, '6'), await upstreamDigest(second, '6')]
    const untilServed = (expected: readonly unknown[]) =>
      until(async () => (await digests()).join() === expected.join())
    await headwater.apply(at(['left', 'right']))
    await untilServed(wanted)
    await headwater.apply(at(['right', 'left']))
    for (const [name, path] of [
      ['one', 'right'],
      ['two', 'left'],
    ] as const) {
      const { status } = await headwater.condition('virtualregistries', name, {
        ...{ type: 'Ready', status: 'True' },
      })
      expect(status.url).toBe(`https://registry.example.com/default/${path}`)
    }
    await untilServed(wanted.toReversed())
    expect((await server.mustKubectl(['events'])).match(/VirtualRegistry\/(?:one|two) .*Conflict/)).toBe(null)
    for (const name of ['one', 'two']) await headwater.remove('virtualregistry', name)
  })

  it('lets who waits for a CleanupPolicy go on, and says that nothing runs it', async () => {
    const policy = {
      apiVersion: 'headwater.dev/v1alpha1',
      kind: 'CleanupPolicy',
      metadata: { name: 'weekly' },
    }
    await headwater.apply([policy])
    await server.mustKubectl(['wait', '--for=condition=Ready', 'cpol/weekly', '--timeout=60s'])
    expect(kstatus(await headwater.get('cleanuppolicies', 'weekly'))).toBe('Current')
    expect(await server.mustKubectl(['get', 'cpol', 'weekly'])).toContain('NotRunYet')
    await headwater.apply([{ ...policy, spec: { schedule: { timeZone: 'Europe/Atlantis' } } }])
    const wrong = await headwater.condition('cleanuppolicies', 'weekly', {
      ...{ type: 'Accepted', status: 'False', reason: 'UnknownTimeZone' },
    })
    expect(kstatus(wrong)).toBe('Failed')
    await headwater.apply([{ ...policy, spec: {} }])
    await headwater.condition('cleanuppolicies', 'weekly', { type: 'Ready', status: 'True' })
  })

  it('acts on a request to look again, and says which', async () => {
    const annotation = 'headwater.dev/reconcile-requested-at=2026-11-22T00:00:00Z'
    await server.mustKubectl(['annotate', 'upstream', 'first', annotation])
    await until(async () => {
      const { status } = await headwater.get('upstreams', 'first')
      return status.lastHandledReconcileAt === '2026-11-22T00:00:00Z'
    })
  })

  it('writes nothing while nothing changes', async () => {
    const versions = async () => {
      const paths = [
        '/apis/headwater.dev/v1alpha1/upstreams',
        '/apis/headwater.dev/v1alpha1/virtualregistries',
        '/apis/headwater.dev/v1alpha1/cleanuppolicies',
      ]
      const lists = await Promise.all(
        [...paths, `/api/v1/namespaces/${routesNamespace}/secrets`].map((path) =>
          server.client.request('GET', path),
        ),
      )
      return lists.flatMap(({ body }) =>
        body.items.map(({ metadata }: { metadata: { resourceVersion: string } }) => metadata.resourceVersion),
      )
    }
    await new Promise((resolve) => setTimeout(resolve, 1000))
    const before = await versions()
    // a restart looks at everything anew
    await operator.stop(5000)
    operator = await headwater.startOperator([
      '--grant-path',
      'default=hub',
      '--external-url',
      'https://registry.example.com',
    ])
    await until(() => /"leading":true/.test(operator.log()))
    await new Promise((resolve) => setTimeout(resolve, 2000))
    expect(await versions()).toEqual(before)
    expect(operator.log()).not.toContain('"reconciled"')
  })

  it('leaves nothing behind of what is deleted', async () => {
    await server.mustKubectl([
      'delete',
      'virtualregistries,upstreams,cleanuppolicies',
      '--all',
      '--wait=false',
    ])
    await until(async () => (await headwater.documents()).length === 0)
    await until(async () => (await proxy.get('/v2/default/all/team/app/manifests/1')).status === 404)
    expect(operator.log() + proxy.log()).not.toContain('canary-')
  })
})
