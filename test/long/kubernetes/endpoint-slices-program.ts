import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { temporaryFolder } from '../../rig/headwater.ts'
import { mustSucceed } from '../../rig/kubernetes/api-client.ts'
import { startApiServer } from '../../rig/kubernetes/api-server.ts'
import { startControllers } from '../../rig/kubernetes/controllers.ts'
import { install } from '../../rig/kubernetes/installation.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'

/**
 * Run within a network namespace of its own, as endpoints must not be on loopback: two proxies behind a Service whose
 * EndpointSlices are made by Kubernetes' own controller. Prints what was said of a registry at each step.
 */
const addresses = ['10.21.0.1', '10.21.0.2'] as const
execFileSync('ip', ['link', 'set', 'lo', 'up'])
for (const address of addresses) execFileSync('ip', ['addr', 'add', `${address}/32`, 'dev', 'lo'])

const said: Record<string, string> = {}
await using open = new AsyncDisposableStack()
const folder = dirname(join(await temporaryFolder(), 'key'))
open.defer(() => rm(folder, { recursive: true, force: true }))
const server = await startApiServer({ args: [`--advertise-address=${addresses[0]}`] })
open.defer(() => server.close())
const controllers = await startControllers(server, ['endpointslice-controller'])
open.defer(() => controllers.kill9())
const headwater = await install(server)
open.defer(() => headwater.close())

const keyFile = join(folder, 'key')
await writeFile(keyFile, `${randomBytes(32).toString('hex')}\n`)
const core = '/api/v1/namespaces/headwater-system'
const post = async (path: string, object: object) =>
  mustSucceed(await server.client.request('POST', path, object))
await post('/api/v1/nodes', { metadata: { name: 'node' } })
const selector = { app: 'headwater-proxy' }
const ports = [
  { name: 'pull', port: 80, targetPort: 5050 },
  { name: 'internal', port: 5053, targetPort: 5053 },
]
await post(`${core}/services`, { metadata: { name: 'headwater-proxy' }, spec: { selector, ports } })
for (const [index, podIP] of addresses.entries()) {
  const name = `proxy-${index}`
  const containers = [{ name: 'proxy', image: 'headwater' }]
  const metadata = { name, labels: selector }
  await post(`${core}/pods`, { metadata, spec: { nodeName: 'node', containers } })
  await setReady(index, true, podIP)
}
const startProxy = (address: string) =>
  headwater.startProxy({ args: ['--cluster-key-file', keyFile, '--internal-listen', `${address}:5053`] })
const first = await startProxy(addresses[0])
await startProxy(addresses[1])
await headwater.startOperator([...['--proxy-service', 'headwater-proxy', '--cluster-key-file', keyFile]])

const programmed = (name: string, status: string, reason: string) =>
  headwater.condition('virtualregistries', name, { type: 'Programmed', status, reason })
await headwater.apply([
  ...upstreamResources('hub', { url: 'https://registry.example.com', spec: { mode: 'CacheOnly' } }),
  registryResource('all', ['hub']),
])
await programmed('all', 'True', 'Programmed')
said.both = 'Programmed'
first.signal('SIGSTOP')
await headwater.apply([registryResource('frozen', ['hub'])])
await programmed('frozen', 'False', 'Pending').catch(() =>
  programmed('frozen', 'Unknown', 'ProxyUnreachable'),
)
said.frozen = 'not Programmed'
await setReady(0, false, addresses[0])
await programmed('frozen', 'True', 'Programmed')
said.notReady = 'Programmed by the other'
first.signal('SIGCONT')

await setReady(1, false, addresses[1])
await headwater.apply([registryResource('alone', ['hub'])])
await programmed('alone', 'False', 'NoProxies')
said.none = 'NoProxies'
await setReady(0, true, addresses[0])
await programmed('alone', 'True', 'Programmed')
said.back = 'Programmed'

await open.disposeAsync()
console.log(JSON.stringify(said))

/** As a kubelet says it. */
async function setReady(index: number, isReady: boolean, podIP: string): Promise<void> {
  const conditions = [{ type: 'Ready', status: isReady ? 'True' : 'False' }]
  const status = { phase: 'Running', podIP, podIPs: [{ ip: podIP }], conditions }
  const path = `${core}/pods/proxy-${index}/status`
  mustSucceed(await server.client.request('PATCH', path, { status }))
}
