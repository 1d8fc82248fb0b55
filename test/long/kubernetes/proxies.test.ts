import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createClusterAuth } from '../../../proxy/internal/cluster-auth.ts'
import { type ProxyState, statePath } from '../../../proxy/routes.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { temporaryFolder } from '../../rig/headwater.ts'
import { type ApiServer, apiServerParts, startApiServer } from '../../rig/kubernetes/api-server.ts'
import {
  type Installation,
  install,
  type OperatorProcess,
  type ProxyProcess,
  until,
} from '../../rig/kubernetes/installation.ts'
import { pickPort } from '../../rig/kubernetes/port.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'

/** Of each of two proxies: the operator asks both. */
interface Asked {
  process: ProxyProcess
  readonly url: string
}

const manifestType = 'application/vnd.oci.image.manifest.v1+json'
const isShort = process.env.HEADWATER_SHORT === '1'
const cachedTags = Array.from({ length: isShort ? 500 : 10_000 }, (_none, index) => `cached-${index}`)
const coldTags = Array.from({ length: 500 }, (_none, index) => `cold-${index}`)

describeWithParts(apiServerParts, 'an operator that asks two proxies', () => {
  let server: ApiServer
  let headwater: Installation
  let operator: OperatorProcess
  let upstream: FakeUpstream
  let keyFile: string
  const key = randomBytes(32).toString('hex')
  const proxies: Asked[] = []

  const startProxy = async (url: string, data?: string) =>
    headwater.startProxy({
      ...(data === undefined ? {} : { data }),
      args: ['--cluster-key-file', keyFile, '--internal-listen', new URL(url).host],
    })
  const startOperator = () =>
    headwater.startOperator([
      ...['--cluster-key-file', keyFile],
      ...proxies.flatMap(({ url }) => ['--proxy-endpoint', url]),
    ])
  const login = (password: string) =>
    upstreamResources('hub', { url: upstream.url, username: 'puller', password }).filter(
      ({ kind }) => kind === 'Secret',
    )
  const conditionOf = async (kind: 'upstreams' | 'virtualregistries', name: string, type: string) => {
    const { status } = await headwater.get(kind, name)
    return status?.conditions?.find((each: { type: string }) => each.type === type)
  }
  /** What is said of both, less the numbers of the cache: an operator that starts takes the newest of those. */
  const said = async () =>
    Promise.all(
      [['upstreams', 'hub'] as const, ['virtualregistries', 'all'] as const].map(async ([kind, name]) => {
        const { cache: _, ...status } = (await headwater.get(kind, name)).status
        return status
      }),
    )
  const pull = (proxy: Asked, tag: string) =>
    proxy.process.get(`/v2/default/all/team/app/manifests/${tag}`, { headers: { accept: manifestType } })
  const stateOf = async ({ url }: Asked) => {
    const authorization = createClusterAuth([key]).sign('GET', statePath, Date.now())
    return (await (await fetch(`${url}${statePath}`, { headers: { authorization } })).json()) as ProxyState
  }
  const order = (...names: string[]) => headwater.apply([registryResource('all', names)])

  beforeAll(async () => {
    server = await startApiServer()
    upstream = await createFakeUpstream({
      auth: { kind: 'basic', username: 'puller', password: 'canary-first' },
    })
    const config = upstream.content.putBlob('team/app', '{}', {
      mediaType: 'application/vnd.oci.image.config.v1+json',
    })
    for (const tag of [...cachedTags, ...coldTags]) {
      const annotations = { tag }
      const manifest = { schemaVersion: 2, mediaType: manifestType, config, layers: [], annotations }
      upstream.content.putManifest('team/app', manifest, { tag, mediaType: manifestType })
    }
    keyFile = join(await temporaryFolder(), 'key')
    await writeFile(keyFile, `${key}\n`)
    headwater = await install(server)
    for (let index = 0; index < 2; index++) {
      const url = `http://127.0.0.1:${await pickPort()}`
      proxies.push({ url, process: await startProxy(url) })
    }
    operator = await startOperator()
    await headwater.apply(
      upstreamResources('hub', { url: upstream.url, username: 'puller', password: 'canary-first' }),
    )
    await headwater.apply(upstreamResources('other', { url: upstream.url }))
    await order('hub', 'other')
  })
  afterAll(async () => {
    await headwater?.close()
    await Promise.all([upstream?.close(), server?.close()])
  })

  it('says Programmed when both serve it, and that the upstream answers before any pull', async () => {
    const { status } = await headwater.condition('virtualregistries', 'all', {
      type: 'Ready',
      status: 'True',
    })
    expect(status.conditions.find((each: { type: string }) => each.type === 'Programmed')).toMatchObject({
      ...{ status: 'True', reason: 'Programmed' },
      message: expect.stringMatching(/^every proxy that is ready serves it, as revision [0-9a-f]{12}$/),
    })
    await headwater.condition('upstreams', 'hub', { type: 'Reachable', status: 'True', reason: 'Reachable' })
    await headwater.condition('upstreams', 'hub', {
      ...{ type: 'CredentialsValid', status: 'True', reason: 'NotRefused' },
    })
    for (const proxy of proxies) {
      const { isReady, registries, upstreams } = await stateOf(proxy)
      expect(isReady).toBe(true)
      expect(Object.keys(registries)).toEqual(['default/all'])
      expect(Object.keys(upstreams).sort()).toEqual(['default/hub', 'default/other'])
      expect((await pull(proxy, 'cold-0')).status).toBe(200)
    }
  })

  it('tells nobody without the key what is served', async () => {
    for (const { url, process } of proxies) {
      const answer = await fetch(`${url}${statePath}`)
      expect([answer.status, await answer.text()]).toEqual([401, ''])
      expect((await process.get(statePath)).status).toBe(404)
    }
  })

  it('finds a password that is refused without a pull, and that it is mended', async () => {
    await headwater.apply(login('canary-wrong'))
    const { status } = await headwater.condition('upstreams', 'hub', {
      ...{ type: 'CredentialsValid', status: 'False', reason: 'CredentialsRefused' },
    })
    const typed = (type: string) => status.conditions.find((each: { type: string }) => each.type === type)
    expect([typed('Ready').status, typed('Reachable').status]).toEqual(['True', 'True'])
    expect(JSON.stringify(status)).not.toContain('canary')
    await headwater.apply(login('canary-first'))
    await headwater.condition('upstreams', 'hub', { type: 'CredentialsValid', status: 'True' })
  })

  it('says Pending while a proxy lags', async () => {
    const [, second] = proxies
    second!.process.signal('SIGSTOP')
    await order('other', 'hub')
    await headwater.condition('virtualregistries', 'all', {
      ...{ type: 'Programmed', status: 'False', reason: 'Pending' },
    })
    second!.process.signal('SIGCONT')
    await headwater.condition('virtualregistries', 'all', { type: 'Ready', status: 'True' })
  })

  it('says ProxyUnreachable of what a proxy that is gone was never seen to serve', async () => {
    const [, second] = proxies
    await second!.process.kill9()
    await until(() => /"trouble":"ECONNREFUSED"/.test(operator.log()))
    await order('hub', 'other')
    await headwater.condition('virtualregistries', 'all', {
      ...{ type: 'Programmed', status: 'Unknown', reason: 'ProxyUnreachable' },
    })
    expect((await pull(proxies[0]!, 'cold-1')).status).toBe(200)
    second!.process = await startProxy(second!.url, second!.process.data)
    await headwater.condition('virtualregistries', 'all', { type: 'Ready', status: 'True' })
  })

  it('counts what is cached of an upstream', async () => {
    await until(
      async () => ((await headwater.get('upstreams', 'hub')).status.cache?.entries ?? 0) > 0,
      () => 'nothing is counted',
      90_000,
    )
  })

  it('says nothing else when proxies stop and start, or the operator does', async () => {
    await sleep(1000)
    const before = await said()
    const [, second] = proxies
    await second!.process.stop()
    await sleep(1000)
    second!.process = await startProxy(second!.url, second!.process.data)
    await operator.stop(5000)
    operator = await startOperator()
    await until(() => /"leading":true/.test(operator.log()))
    await sleep(7000)
    expect(await said()).toEqual(before)
    expect((await conditionOf('virtualregistries', 'all', 'Programmed')).status).toBe('True')
  })

  it('K11: has both use a rotated password, and another order, within 5 s and with no failed pull under load', async () => {
    await pullCached()
    const load = startLoad()
    await sleep(500)

    const before = (await stateOf(proxies[0]!)).upstreams['default/hub']
    Object.assign(upstream.auth, { otherPassword: 'canary-second' })
    await headwater.apply(login('canary-second'))
    await everyProxySays(({ health, upstreams }) => {
      const used = upstreams['default/hub']
      return used !== before && health['default/hub']?.revision === used
    })
    expect(isUsed('canary-second')).toBe(true)
    Object.assign(upstream.auth, { password: 'canary-second' })

    for (const names of [
      ['other', 'hub'],
      ['hub', 'other'],
    ]) {
      const served = (await stateOf(proxies[0]!)).registries['default/all']
      await order(...names)
      await everyProxySays(({ registries }) => registries['default/all'] !== served)
    }
    await sleep(1000)
    const statuses = await load.stop()
    expect([...statuses.keys()]).toEqual([200])
    expect(statuses.get(200)).toBeGreaterThan(50)
  })

  it(`K11: serves ${cachedTags.length} cached entries with the upstream stopped right after a rotation`, async () => {
    await pullCached()
    const before = (await stateOf(proxies[0]!)).upstreams['default/hub']
    Object.assign(upstream.auth, { otherPassword: 'canary-third' })
    await headwater.apply(login('canary-third'))
    await everyProxySays(({ upstreams }) => upstreams['default/hub'] !== before)
    await upstream.stop()
    Object.assign(upstream.auth, { password: 'canary-third' })
    await pullCached()
    await upstream.heal()
  })

  it('says of an upstream that is away that it is not Reachable, and changes no Ready', async () => {
    await upstream.stop()
    for (const proxy of proxies) {
      for (const tag of coldTags.slice(-4)) expect((await pull(proxy, tag)).status).toBe(503)
    }
    const { status } = await headwater.condition('upstreams', 'hub', {
      ...{ type: 'Reachable', status: 'False', reason: 'Unavailable' },
    })
    expect(status.conditions[0]).toMatchObject({ type: 'Ready', status: 'True' })
    await upstream.heal()
    await sleep(1500)
    for (const proxy of proxies) await pull(proxy, coldTags.at(-1)!)
    await until(
      async () => (await conditionOf('upstreams', 'hub', 'Reachable')).status === 'True',
      undefined,
      180_000, // what turned some times already is said more seldom
    )
  })

  it('K2: converges by itself after a time without an API server in which a proxy and the operator ended', async () => {
    await server.stop()
    const [, second] = proxies
    await second!.process.kill9()
    second!.process = await startProxy(second!.url, second!.process.data)
    for (const proxy of proxies) expect((await pull(proxy, 'cached-1')).status).toBe(200)
    expect(await operator.exited).toBe(1)
    operator = await startOperator()
    await server.start()
    await until(() => /"leading":true/.test(operator.log()), undefined, 40_000)
    await order('other', 'hub')
    await until(
      async () => {
        const { metadata, status } = await headwater.get('virtualregistries', 'all')
        const programmed = await conditionOf('virtualregistries', 'all', 'Programmed')
        return status.observedGeneration === metadata.generation && programmed.status === 'True'
      },
      () => 'it does not converge',
      60_000,
    )
  })

  it('says NoProxies of a Service that has no endpoint', async () => {
    await operator.stop(5000)
    operator = await headwater.startOperator([
      '--cluster-key-file',
      keyFile,
      '--proxy-service',
      'headwater-proxy',
    ])
    await headwater.apply([registryResource('late', ['hub'])])
    await headwater.condition('virtualregistries', 'late', {
      ...{ type: 'Programmed', status: 'False', reason: 'NoProxies' },
    })
    expect((await conditionOf('virtualregistries', 'all', 'Programmed')).status).toBe('True')
    const logs = [operator, ...proxies.map(({ process }) => process)].map((each) => each.log()).join('')
    expect(logs).not.toContain('canary-')
    expect(logs).not.toContain(key)
  })

  /** All of `cachedTags` through both, a few at once. */
  async function pullCached(): Promise<void> {
    const failed: string[] = []
    const pullFrom = async (proxy: Asked) => {
      const tags = cachedTags.values()
      const worker = async () => {
        for (const tag of tags) {
          const { status } = await pull(proxy, tag)
          if (status !== 200) failed.push(`${tag}: ${status}`)
        }
      }
      await Promise.all([worker(), worker(), worker(), worker()])
    }
    await Promise.all(proxies.map(pullFrom))
    expect(failed.slice(0, 5)).toEqual([])
  }

  /** Pulls of what is cached, and now and then of what is not, through both until it is stopped; gives the statuses. */
  function startLoad() {
    const statuses = new Map<number, number>()
    const cold = coldTags.slice(2, -4).values()
    let isOver = false
    const load = async (proxy: Asked) => {
      for (let turn = 0; !isOver; turn++) {
        const tag =
          turn % 10 === 0 ? (cold.next().value ?? 'cached-0') : cachedTags[turn % cachedTags.length]!
        const { status } = await pull(proxy, tag)
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
      }
    }
    const running = proxies.flatMap((proxy) => [load(proxy), load(proxy)])
    return {
      async stop() {
        isOver = true
        await Promise.all(running)
        return statuses
      },
    }
  }

  /** Within 5 s of the change before. */
  async function everyProxySays(holds: (state: ProxyState) => boolean): Promise<void> {
    const says = (proxy: Asked) =>
      until(
        async () => holds(await stateOf(proxy)),
        () => 'a proxy does not use it within 5 s',
        5000,
      )
    await Promise.all(proxies.map(says))
  }

  function isUsed(password: string): boolean {
    const basic = `Basic ${Buffer.from(`puller:${password}`).toString('base64')}`
    return upstream.requests().some(({ headers }) => headers.authorization === basic)
  }
})
