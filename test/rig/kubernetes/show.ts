import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { registryResource, upstreamResources } from '../resources.ts'
import { startApiServer } from './api-server.ts'
import { install } from './installation.ts'
import { pickPort } from './port.ts'

const upstream = (name: string, host: string, spec: Record<string, unknown> = {}) =>
  upstreamResources(name, { url: `https://${host}`, spec })
const resources = [
  ...upstream('docker-hub', 'registry-1.docker.io', { mode: 'CacheOnly' }),
  ...upstream('corp', 'registry.corp.example', { credentialsSecretRef: { name: 'corp-login' } }),
  registryResource('hub', ['docker-hub'], { spec: { path: 'default/images' } }),
  registryResource('nested', ['docker-hub'], { spec: { path: 'default/images/nested' } }),
  registryResource('mixed', ['corp', 'docker-hub', 'quay']),
  registryResource('outside', ['docker-hub'], { spec: { path: 'shared' } }),
  { apiVersion: 'headwater.dev/v1alpha1', kind: 'CleanupPolicy', metadata: { name: 'weekly' } },
]

/**
 * What people see of it with kubectl, from a real API server, operator and proxy, on standard output:
 * `node test/rig/kubernetes/show.ts`. Some of it is as it should be, some is broken.
 */
async function show(): Promise<string> {
  await using ending = new AsyncDisposableStack()
  const server = await startApiServer()
  ending.defer(() => server.close())
  const headwater = await install(server)
  ending.defer(() => headwater.close())
  const keyFile = join(server.folder, 'cluster-key')
  await writeFile(keyFile, 'of this run alone, and as long as it must be')
  const internal = `127.0.0.1:${await pickPort()}`
  const known = ['--cluster-key-file', keyFile, '--external-url', 'https://registry.example.com']
  await headwater.startProxy({ args: [...known, '--internal-listen', internal] })
  await headwater.startOperator([...known, '--proxy-endpoint', `http://${internal}`])
  // what was there first keeps its path
  await headwater.apply(resources.slice(0, 3))
  await headwater.condition('virtualregistries', 'hub', { type: 'Ready', status: 'True' })
  await headwater.apply(resources)
  await headwater.condition('virtualregistries', 'nested', { type: 'Accepted', status: 'False' })
  await headwater.condition('virtualregistries', 'mixed', { type: 'ResolvedRefs', status: 'False' })
  await headwater.condition('cleanuppolicies', 'weekly', { type: 'Ready', status: 'True' })

  const shown: string[] = []
  for (const words of [
    ['get', 'headwater', '-A'],
    ['get', 'headwater', '-A', '-o', 'wide'],
    ['describe', 'virtualregistry', 'nested'],
    ['describe', 'virtualregistry', 'mixed'],
    ['describe', 'upstream', 'corp'],
    ['events'],
    ['explain', 'virtualregistry.spec'],
    ['explain', 'virtualregistry.spec.upstreams'],
  ]) {
    shown.push(`$ kubectl ${words.join(' ')}\n${await server.mustKubectl(words)}\n`)
  }
  return shown.join('')
}

process.stdout.write(await show())
