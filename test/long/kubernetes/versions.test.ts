import { randomBytes } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { supportedFeatures } from '../../../proxy/routes.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { checkOut, type EarlierVersion, earlierCommit } from '../../rig/earlier-version.ts'
import { temporaryFolder } from '../../rig/headwater.ts'
import { registryStore } from '../../rig/image-store.ts'
import { pushImage } from '../../rig/images.ts'
import { mustSucceed } from '../../rig/kubernetes/api-client.ts'
import { type ApiServer, apiServerParts, startApiServer } from '../../rig/kubernetes/api-server.ts'
import {
  type Installation,
  install,
  type OperatorProcess,
  type ProxyProcess,
  routesNamespace,
  until,
} from '../../rig/kubernetes/installation.ts'
import { pickPort } from '../../rig/kubernetes/port.ts'
import { type Registry, startRegistry } from '../../rig/registry.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'

const { commit, reason } = await earlierCommit()
if (commit === undefined) console.warn(`LEFT OUT: operator and proxies of different versions: ${reason}`)

describeWithParts(
  [...apiServerParts, 'registry', 'htpasswd'],
  'with the version before the last change of routes',
  () => {
    describe.skipIf(commit === undefined)(
      `operator and proxies (K25)${reason ? `, left out: ${reason}` : ''}`,
      () => {
        let server: ApiServer
        let headwater: Installation
        let earlier: EarlierVersion
        let operator: OperatorProcess | undefined
        let upstream: Registry
        let keyFile: string
        /** One of this version, one of the earlier. */
        const proxies: ProxyProcess[] = []
        const urls: string[] = []

        const startProxy = async (from?: string) => {
          const url = `http://127.0.0.1:${await pickPort()}`
          const args = ['--cluster-key-file', keyFile, '--internal-listen', new URL(url).host]
          proxies.push(await headwater.startProxy({ args, ...(from !== undefined && { from }) }))
          urls.push(url)
        }
        const startOperator = async (from?: string) => {
          await operator?.stop(10_000)
          const asked = urls.flatMap((url) => ['--proxy-endpoint', url])
          operator = await headwater.startOperator(['--cluster-key-file', keyFile, ...asked], from)
          await until(() => /"leading":true/.test(operator!.log()))
        }
        const statuses = (tag: string, registry = 'all') =>
          Promise.all(
            proxies.map(
              async (proxy) => (await proxy.get(`/v2/default/${registry}/team/app/manifests/${tag}`)).status,
            ),
          )
        const all = (order: readonly string[], spec: Record<string, unknown> = {}) =>
          registryResource(
            'all',
            order.map((name) => ({
              upstreamRef: { name },
              repositories: { include: ['team/**'], exclude: ['team/no'] },
            })),
            { spec },
          )
        const isReady = { type: 'Ready', status: 'True' }
        const orderServed = async () =>
          (await headwater.documents())
            .find(({ route }) => route.kind === 'VirtualRegistry' && route.name === 'all')
            .route.upstreams.map(({ name }: { name: string }) => name)

        beforeAll(async () => {
          ;[server, upstream, earlier] = await Promise.all([
            startApiServer(),
            startRegistry({ auth: 'basic' }),
            checkOut(commit!),
          ])
          headwater = await install(server)
          keyFile = join(await temporaryFolder(), 'key')
          await writeFile(keyFile, `${randomBytes(32).toString('hex')}\n`)
          for (const tag of ['1', '2', '3', '4', '5']) {
            await pushImage(registryStore(upstream), 'team/app', { tag, seed: Number(tag) })
          }
          await startProxy()
          await startProxy(earlier.folder)
        })
        afterAll(async () => {
          await headwater?.close()
          await Promise.all([upstream?.close(), server?.close(), earlier?.close()])
          if (keyFile) await rm(dirname(keyFile), { recursive: true, force: true })
        })

        it('have what this operator writes served by both proxies, which it can ask both', async () => {
          await startOperator()
          const { url, username = '', password = '' } = upstream
          const spec = { mirrorOf: ['mirror.example'], tokenServiceHosts: ['auth.example'] }
          await headwater.apply([
            ...upstreamResources('hub', { url, username, password, validitySeconds: 60, spec }),
            ...upstreamResources('cold', {
              url,
              spec: { mode: 'CacheOnly', defaultRepositoryPrefix: 'library' },
            }),
            all(['hub', 'cold']),
          ])
          const { status } = await headwater.condition('virtualregistries', 'all', isReady)
          expect(JSON.stringify(status.conditions)).toContain('every proxy that is ready serves it')
          await headwater.condition('upstreams', 'hub', { type: 'CredentialsValid', status: 'True' })
          expect(await statuses('1')).toEqual([200, 200])
        })

        it('leave a document that needs what a proxy cannot do, and serve on what was there', async () => {
          await operator?.stop(10_000)
          operator = undefined
          const path = `/api/v1/namespaces/${routesNamespace}/secrets`
          const { items } = mustSucceed(await server.client.request('GET', path))
          const read = (data: { document: string }) =>
            JSON.parse(Buffer.from(data.document, 'base64').toString())
          const secret = items.find(
            ({ data }: { data: { document: string } }) => read(data).route.name === 'all',
          )
          const before = read(secret.data)
          const next = {
            ...before,
            features: ['of-tomorrow'],
            revision: 'another',
            route: { kind: 'OfTomorrow' },
          }
          const data = { document: Buffer.from(JSON.stringify(next)).toString('base64') }
          mustSucceed(await server.client.request('PATCH', `${path}/${secret.metadata.name}`, { data }))
          await until(() =>
            proxies.every((proxy) => /needs what this version cannot do: of-tomorrow/.test(proxy.log())),
          )
          expect(await statuses('2')).toEqual([200, 200])
          await startOperator()
          await until(async () => (await orderServed())?.length === 2)
          await headwater.condition('virtualregistries', 'all', isReady)
        })

        it('say NotTaken of what only the older proxy cannot do', async (context) => {
          const lacked = supportedFeatures.filter((feature) => !earlier.features.includes(feature))
          if (!lacked.includes('redirect')) return context.skip('it can do all that this one can')
          await headwater.apply([all(['hub', 'cold'], { blobDelivery: 'Redirect' })])
          const wanted = { type: 'Programmed', status: 'False', reason: 'NotTaken' }
          const { status } = await headwater.condition('virtualregistries', 'all', wanted)
          expect(JSON.stringify(status.conditions)).toContain('needs what this version cannot do: redirect')
          expect(await statuses('3')).toEqual([200, 200])
          await headwater.apply([all(['hub', 'cold'])])
          await headwater.condition('virtualregistries', 'all', isReady)
        })

        it('have what the earlier operator writes served by both proxies, also what it finds of this one', async () => {
          const before = await headwater.documents()
          await startOperator(earlier.folder)
          await sleep(2000)
          expect(await headwater.documents()).toEqual(before)
          expect(await statuses('4')).toEqual([200, 200])
          await headwater.whenTaken(
            () => headwater.apply([all(['cold', 'hub'], { serving: 'Disabled' })]),
            proxies,
          )
          expect(await statuses('4')).toEqual([404, 404])
          await headwater.whenTaken(() => headwater.apply([all(['hub', 'cold'])]), proxies)
          expect(await statuses('5')).toEqual([200, 200])
          await headwater.condition('virtualregistries', 'all', isReady)
          await headwater.remove('virtualregistry', 'all')
          await until(async () => (await statuses('5')).every((status) => status === 404))
        })
      },
    )
  },
)
