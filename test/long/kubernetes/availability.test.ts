import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
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
import { type Registry, startRegistry } from '../../rig/registry.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'

const isShort = process.env.HEADWATER_SHORT === '1'
const outageMs = isShort ? 12_000 : 60_000

describeWithParts(
  [...apiServerParts, 'registry', 'htpasswd'],
  'an installation with something missing',
  () => {
    let server: ApiServer
    let headwater: Installation
    let operator: OperatorProcess
    let proxy: ProxyProcess
    let upstream: Registry
    const path = '/v2/default/all/team/app/manifests/1'
    const leads = (one: OperatorProcess) => /"leading":true/.test(one.log())

    /** As a Deployment does: whenever it ends it is started again after a second. */
    function superviseOperator() {
      const stopping = new AbortController()
      const ends: (number | NodeJS.Signals)[] = []
      const running = (async () => {
        for (;;) {
          const code = await Promise.race([operator.exited, whenAborted(stopping.signal)])
          if (stopping.signal.aborted) return
          ends.push(code!)
          await sleep(1000)
          operator = await headwater.startOperator()
        }
      })()
      return {
        ends,
        async [Symbol.asyncDispose]() {
          stopping.abort()
          await running
        },
      }
    }

    beforeAll(async () => {
      ;[server, upstream] = await Promise.all([startApiServer(), startRegistry()])
      headwater = await install(server)
      await pushImage(registryStore(upstream), 'team/app', { tag: '1' })
      operator = await headwater.startOperator()
      proxy = await headwater.startProxy()
      const resources = upstreamResources('hub', { url: upstream.url })
      await headwater.apply([...resources, registryResource('all', ['hub'])])
      await headwater.condition('virtualregistries', 'all', { type: 'Ready', status: 'True' })
      await until(async () => (await proxy.get(path)).status === 200)
    })
    afterAll(async () => {
      await headwater?.close()
      await Promise.all([upstream?.close(), server?.close()])
    })

    it('K16: hands the Lease over within 5 s of a stop in order', async () => {
      const next = await headwater.startOperator()
      await sleep(2500)
      expect(leads(next)).toBe(false)
      const begun = Date.now()
      expect(await operator.stop(10_000)).toBe(0)
      await until(() => leads(next))
      expect(Date.now() - begun).toBeLessThan(5000)
      operator = next
    })

    it('K15 and K22: deletes no document over a missing definition or a refused list', async () => {
      const before = await headwater.documents()
      const crd = await server.mustKubectl(['get', 'crd', 'upstreams.headwater.dev', '-o', 'yaml'])
      const objects = await server.mustKubectl(['get', 'upstream', 'hub', '-o', 'json'])
      await server.mustKubectl(['delete', 'crd', 'upstreams.headwater.dev'])
      await until(() => /"source":"upstreams"/.test(operator.log()))
      await sleep(1000)
      expect(await headwater.documents()).toEqual(before)
      expect((await proxy.get(path)).status).toBe(200)

      await server.mustKubectl(['apply', '-f', '-'], crd)
      await until(async () => (await server.kubectl(['apply', '-f', '-'], objects)).code === 0)
      await headwater.condition('upstreams', 'hub', { type: 'Ready', status: 'True' })

      await server.mustKubectl(['delete', 'clusterrolebinding', 'headwater-operator-watched'])
      await operator.kill9()
      operator = await headwater.startOperator()
      await until(() => leads(operator), undefined, 40_000)
      await until(() => /403 Forbidden/.test(operator.log()))
      expect((await fetch(`${operator.adminUrl}/readyz`)).status).toBe(503)
      expect(await headwater.documents()).toHaveLength(before.length)
      await server.mustKubectl(['apply', '-f', 'config/rbac'])
      await until(async () => (await fetch(`${operator.adminUrl}/readyz`)).status === 200, undefined, 40_000)
    })

    it('K1 and K2: goes on with pulls while there is no API server, even from a proxy that starts then, and converges by itself', async () => {
      const steady = await headwater.startProxy()
      await until(async () => (await steady.get(path)).status === 200)
      await using supervised = superviseOperator()
      const isOver = new AbortController()
      const pulling = pullUntil(isOver.signal, steady)

      await server.stop()
      const ends = Date.now() + outageMs
      await proxy.kill9()
      proxy = await headwater.startProxy({ data: proxy.data })
      expect(await proxy.isReady()).toBe(true)
      expect((await proxy.get(path)).status).toBe(200)
      const fresh = await headwater.startProxy()
      expect(await fresh.isReady()).toBe(false)
      expect((await fresh.get(path)).status).toBe(503)
      await sleep(Math.max(0, ends - Date.now()))
      expect((await proxy.get(path)).status).toBe(200)
      // the Lease cannot be renewed: it ends, its supervisor starts it again, and it waits for an API server
      await until(() => supervised.ends.length > 0)
      expect(new Set(supervised.ends)).toEqual(new Set([1]))

      await server.start()
      await until(() => fresh.isReady(), undefined, 60_000)
      await headwater.apply([registryResource('late', ['hub'])])
      await headwater.condition('virtualregistries', 'late', { type: 'Ready', status: 'True' })
      for (const each of [proxy, fresh, steady]) {
        await until(
          async () => (await each.get('/v2/default/late/team/app/manifests/1')).status === 200,
          undefined,
          60_000,
        )
      }
      isOver.abort()
      const statuses = await pulling
      expect([...statuses.keys()]).toEqual([200])
      expect(statuses.get(200)).toBeGreaterThan(outageMs / 1000)
    })

    it('writes a document again that somebody deleted or spoiled', async () => {
      const [first] = (await server.client.request('GET', `/api/v1/namespaces/${routesNamespace}/secrets`))
        .body.items
      await server.mustKubectl(['delete', 'secret', '-n', routesNamespace, first.metadata.name])
      await until(async () => (await headwater.documents()).length === 3)
      const patch = JSON.stringify({ data: { document: Buffer.from('{}').toString('base64') } })
      await server.mustKubectl(['patch', 'secret', '-n', routesNamespace, first.metadata.name, '-p', patch])
      await until(async () => (await headwater.documents()).every(({ route }) => route !== undefined))
      expect((await proxy.get(path)).status).toBe(200)
    })
  },
)

/** How often each status was answered. */
async function pullUntil(signal: AbortSignal, proxy: ProxyProcess): Promise<Map<number, number>> {
  const statuses = new Map<number, number>()
  while (!signal.aborted) {
    const { status } = await proxy.get('/v2/default/all/team/app/manifests/1')
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    await sleep(20)
  }
  return statuses
}

function whenAborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(undefined), { once: true }))
}
