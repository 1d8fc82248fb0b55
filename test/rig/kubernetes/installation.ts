import { readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { temporaryFolder } from '../headwater.ts'
import { type RunningProcess, startProcess } from '../process.ts'
import { type Resource, toYaml } from '../resources.ts'
import type { ApiServer } from './api-server.ts'

const namespace = 'headwater-system'
export const routesNamespace = `${namespace}-routes`
const apis = '/apis/headwater.dev/v1alpha1'

// biome-ignore lint/suspicious/noExplicitAny: tests look into it as they like
type Body = any

type Plural = 'upstreams' | 'virtualregistries' | 'cleanuppolicies'

/** Headwater on an API server with the rights of `config/rbac/` and no others, to which programs are added. */
export interface Installation {
  readonly server: ApiServer
  apply(resources: readonly Resource[]): Promise<void>
  remove(kind: string, name: string, namespace?: string): Promise<void>
  get(kind: Plural, name: string, namespace?: string): Promise<Body>
  /** Waits until a condition has this status, and this reason where one is given; gives the object. */
  condition(
    kind: Plural,
    name: string,
    wanted: { type: string; status: string; reason?: string; namespace?: string },
  ): Promise<Body>
  documents(): Promise<Body[]>
  /**
   * Makes the change and resolves when other documents than before lie in the routes namespace and these proxies serve
   * just those: a pull that came earlier would be cached. For changes of one document.
   */
  whenTaken(
    change: () => Promise<unknown>,
    by: readonly Pick<ProxyProcess, 'data'>[],
    withinMs?: number,
  ): Promise<void>
  /** `from` is the folder of other sources than these. */
  startOperator(args?: readonly string[], from?: string): Promise<OperatorProcess>
  startProxy(options?: { data?: string; args?: readonly string[]; from?: string }): Promise<ProxyProcess>
  /** Ends every program it started, and deletes what those kept. */
  close(): Promise<void>
}

export interface OperatorProcess extends RunningProcess {
  readonly adminUrl: string
}

export interface ProxyProcess extends Omit<RunningProcess, 'ready'> {
  readonly url: string
  readonly host: string
  readonly adminUrl: string
  readonly data: string
  get(path: string, init?: RequestInit): Promise<Response>
  isReady(): Promise<boolean>
}

export async function install(server: ApiServer): Promise<Installation> {
  for (const name of [namespace, routesNamespace]) await server.createNamespace(name)
  await server.mustKubectl(['apply', '-f', 'config/rbac'])
  const operatorAccount = await server.serviceAccount(namespace, 'headwater-operator')
  const proxyAccount = await server.serviceAccount(namespace, 'headwater-proxy')
  const started: Pick<RunningProcess, 'kill9'>[] = []
  const folders: string[] = []

  const get: Installation['get'] = async (kind, name, where = 'default') =>
    (await server.client.request('GET', `${apis}/namespaces/${where}/${kind}/${name}`)).body

  const documents = async (): Promise<Body[]> => {
    const path = `/api/v1/namespaces/${routesNamespace}/secrets`
    const { items } = (await server.client.request('GET', path)).body
    return items.map((item: Body) => JSON.parse(Buffer.from(item.data.document, 'base64').toString()))
  }

  return {
    server,
    get,
    documents,
    async whenTaken(change, by, withinMs) {
      const before = revisionsOf(await documents())
      await change()
      let [lying, served]: [string, string[]] = ['', []]
      await until(
        async () => {
          lying = revisionsOf(await documents())
          served = await Promise.all(by.map(({ data }) => servedBy(data)))
          return lying !== before && served.every((each) => each === lying)
        },
        () => `before: ${before}\nlying: ${lying}\nserved: ${served.join('\n')}`,
        withinMs,
      )
    },
    async apply(resources) {
      await server.mustKubectl(['apply', '-f', '-'], toYaml(resources))
    },
    async remove(kind, name, where = 'default') {
      await server.mustKubectl(['delete', kind, name, '-n', where, '--wait=false'])
    },
    async condition(kind, name, { type, status, reason, namespace: where }) {
      let last: Body
      await until(
        async () => {
          last = await get(kind, name, where)
          const found = last.status?.conditions?.find((each: Body) => each.type === type)
          const isCurrent = last.status?.observedGeneration === last.metadata?.generation
          return isCurrent && found?.status === status && (reason === undefined || found.reason === reason)
        },
        () => `${kind} ${name} is not ${type}=${status}/${reason}: ${JSON.stringify(last?.status)}`,
      )
      return last
    },
    async startOperator(args = [], from) {
      const running = await startProcess({
        command: process.execPath,
        cwd: from,
        args: [
          ...['cli/main.ts', 'operator', '--kubeconfig', operatorAccount.kubeconfig],
          ...['--admin-listen', '127.0.0.1:0', '--log-format', 'json', ...args],
        ],
        ready: /"admin":\{[^}]*"port":(?<port>\d+)/,
      })
      started.push(running)
      return Object.assign(running, { adminUrl: `http://127.0.0.1:${running.ready.groups?.port}` })
    },
    async startProxy({ data, args = [], from } = {}) {
      const folder = data ?? join(await temporaryFolder(), 'data')
      if (data === undefined) folders.push(dirname(folder))
      const running = await startProcess({
        command: process.execPath,
        cwd: from,
        args: [
          ...['cli/main.ts', 'proxy', '--kubeconfig', proxyAccount.kubeconfig, '--data', folder],
          ...['--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0', '--log-format', 'json'],
          // the API server has this one, too
          ...['--allow-upstream-cidr', '127.0.0.1/32', '--allow-upstream-cidr', '::1/128', ...args],
        ],
        ready: /listening on http:\/\/(?<listen>\S+), admin on http:\/\/(?<admin>\S+)/,
      })
      started.push(running)
      const { listen = '', admin = '' } = running.ready.groups ?? {}
      return Object.assign(running, {
        url: `http://${listen}`,
        host: listen,
        adminUrl: `http://${admin}`,
        data: folder,
        get: (path: string, init?: RequestInit) => fetch(`http://${listen}${path}`, init),
        isReady: async () => (await fetch(`http://${admin}/readyz`)).status === 200,
      })
    },
    async close() {
      await Promise.all(started.map((each) => each.kill9()))
      for (const folder of folders) await rm(folder, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}

/** What a proxy keeps on its disk is what it took last. */
async function servedBy(data: string): Promise<string> {
  const text = await readFile(join(data, 'routes.json'), 'utf8').catch(() => '{"documents": {}}')
  return revisionsOf(Object.values(JSON.parse(text).documents))
}

function revisionsOf(documents: readonly Body[]): string {
  return documents
    .map(({ revision }) => String(revision))
    .toSorted()
    .join()
}

/** Waits until it holds; throws what is said then where it does not. */
export async function until(
  holds: () => Promise<boolean> | boolean,
  otherwise: () => string = () => 'it does not come true',
  timeoutMs = 40_000,
): Promise<void> {
  for (const deadline = Date.now() + timeoutMs; !(await holds()); ) {
    if (Date.now() > deadline) throw new Error(otherwise())
    await sleep(50)
  }
}
