import { rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createCertificateAuthority, type KeyPair } from '../certificates.ts'
import { temporaryFolder } from '../headwater.ts'
import { needPart, type PartName } from '../parts.ts'
import { lastLines, mustRun, type Ran, type RunningProcess, run, startProcess } from '../process.ts'
import { type ApiClient, createApiClient, mustSucceed } from './api-client.ts'
import { installCrds, untilCrdsAreServed } from './crds.ts'
import { type Etcd, startEtcd } from './etcd.ts'
import { isFree, onFreePort } from './port.ts'

/** What tests with an API server need, for `describeWithParts`. */
export const apiServerParts: readonly PartName[] = ['etcd', 'kube-apiserver', 'kubectl', 'openssl']

export interface ApiServerOptions {
  /** Further arguments of kube-apiserver, such as `--watch-cache=false`; of two alike the later wins. */
  readonly args?: readonly string[]
  /** Makes the kinds of `crds/` and waits until they are served. Default: true. */
  readonly crds?: boolean
}

/** A real kube-apiserver on a real etcd, both on loopback, empty, with RBAC. No controller runs, and no node. */
export interface ApiServer {
  /** `https://127.0.0.1:PORT`, the same after a restart. */
  readonly url: string
  readonly caFile: string
  /** What it shows of itself, good for anybody on loopback. */
  readonly certificate: KeyPair
  /** A file, for `--kubeconfig`, with the rights of system:masters. */
  readonly kubeconfig: string
  readonly folder: string
  readonly pid: number
  readonly etcd: Etcd
  /** Requests as the administrator, without a process and its discovery. */
  readonly client: ApiClient
  log(): string
  /** A code that is not 0 is an answer. `input` is its standard input, for `-f -`. */
  kubectl(args: readonly string[], input?: string): Promise<Ran>
  /** Its standard output; throws what it said where the code is not 0. */
  mustKubectl(args: readonly string[], input?: string): Promise<string>
  /** Gives the name, which nobody else has where none is given. */
  createNamespace(name?: string): Promise<string>
  /** A new token of a ServiceAccount, which is made where it is not there. It may do what RBAC gives it: at first, nothing. */
  serviceAccount(namespace: string, name: string): Promise<Account>
  signal(signal: NodeJS.Signals): void
  /** Ends the API server, in order or at once, and leaves etcd alone; `start` brings it back. */
  stop(): Promise<void>
  kill9(): Promise<void>
  start(): Promise<void>
  /** Ends both and deletes what they stored. */
  close(): Promise<void>
}

export interface Account {
  readonly token: string
  readonly kubeconfig: string
  readonly client: ApiClient
}

export function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  return onFreePort((port) => startOn(port, options))
}

async function startOn(port: number, { args = [], crds = true }: ApiServerOptions): Promise<ApiServer> {
  await using unfinished = new AsyncDisposableStack()
  const folder = await temporaryFolder()
  unfinished.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }))
  const at = (name: string) => join(folder, name)
  const authority = await createCertificateAuthority()
  unfinished.defer(() => rm(dirname(authority.caFile), { recursive: true, force: true }))
  const [serving, signing] = await Promise.all([
    authority.issue(),
    authority.issue({ commonName: 'service accounts' }),
  ])
  const etcd = await startEtcd(at('etcd'))
  unfinished.defer(() => etcd.stop())
  const url = `https://127.0.0.1:${port}`
  let running: RunningProcess | undefined
  /** Why there may be no answer, for people. */
  const whatEnded = () =>
    [
      { name: 'etcd', ended: etcd.hasEnded(), log: etcd.log() },
      { name: 'kube-apiserver', ended: running?.hasEnded() ?? true, log: running?.log() ?? '' },
    ]
      .filter(({ ended }) => ended)
      .map(({ name, log }) => `${name} has ended, with:\n${lastLines(log, 8)}`)
      .join('\n')
  const clients: ApiClient[] = []
  unfinished.defer(() => {
    for (const client of clients) client.close()
  })
  async function account(name: string, token: string): Promise<Account> {
    const client = createApiClient({ url, ca: authority.ca, token }, whatEnded)
    clients.push(client)
    const kubeconfig = at(`${name}.kubeconfig`)
    await writeFile(kubeconfig, kubeconfigOf({ url, ca: authority.ca, token }), { mode: 0o600 })
    return { token, kubeconfig, client }
  }
  const admin = await account('admin', 'token-of-the-administrator')
  await writeFile(at('tokens.csv'), `${admin.token},admin,admin,"system:masters"\n`)

  const start = async (): Promise<void> => {
    await until(() => isFree(port), `port ${port} is still in use`)
    running = await startProcess({
      command: needPart('kube-apiserver'),
      args: [
        ...['--bind-address=127.0.0.1', `--secure-port=${port}`, '--endpoint-reconciler-type=none'],
        ...[`--etcd-servers=${etcd.url}`, '--service-cluster-ip-range=10.96.0.0/16'],
        ...[`--tls-cert-file=${serving.certFile}`, `--tls-private-key-file=${serving.keyFile}`],
        ...[`--token-auth-file=${at('tokens.csv')}`, '--authorization-mode=Node,RBAC'],
        '--service-account-issuer=https://kubernetes.default.svc',
        ...[
          `--service-account-key-file=${signing.certFile}`,
          `--service-account-signing-key-file=${signing.keyFile}`,
        ],
        // nobody makes the accounts that pods would be given
        ...['--disable-admission-plugins=ServiceAccount', '--profiling=false', ...args],
      ],
      ready: /Serving securely on /,
      timeoutMs: 180_000,
    })
    const isReady = async () =>
      (await admin.client.request('GET', '/readyz').catch(() => undefined))?.status === 200
    await until(isReady, 'the API server is not ready', 120_000)
    await untilCrdsAreServed(admin.client)
  }
  unfinished.defer(() => running?.kill9())
  await start()
  if (crds) await installCrds(admin.client)

  const kubectlCall = (words: readonly string[], input: string | undefined): Parameters<typeof run> => [
    needPart('kubectl'),
    ['--kubeconfig', admin.kubeconfig, '--cache-dir', at('kubectl'), ...words],
    input === undefined ? {} : { input },
  ]
  let namespaces = 0
  const parts = unfinished.move()
  return {
    url,
    caFile: authority.caFile,
    certificate: serving,
    kubeconfig: admin.kubeconfig,
    folder,
    get pid() {
      return running!.pid
    },
    etcd,
    client: admin.client,
    log: () => running!.log(),
    kubectl: (words, input) => run(...kubectlCall(words, input)),
    mustKubectl: (words, input) => mustRun(...kubectlCall(words, input)),
    async createNamespace(name = `test-${++namespaces}`) {
      mustSucceed(await admin.client.request('POST', '/api/v1/namespaces', { metadata: { name } }))
      return name
    },
    async serviceAccount(namespace, name) {
      const path = `/api/v1/namespaces/${namespace}/serviceaccounts`
      const made = await admin.client.request('POST', path, { metadata: { name } })
      if (made.status !== 409) mustSucceed(made)
      const request = { spec: { expirationSeconds: 86_400 } }
      const { status } = mustSucceed(await admin.client.request('POST', `${path}/${name}/token`, request))
      return account(`${namespace}.${name}`, status.token)
    },
    signal: (signal) => running!.signal(signal),
    async stop() {
      await running!.stop(5000)
    },
    kill9: () => running!.kill9(),
    start,
    close: () => parts.disposeAsync(),
  }
}

async function until(holds: () => Promise<boolean>, otherwise: string, timeoutMs = 60_000): Promise<void> {
  for (const deadline = Date.now() + timeoutMs; !(await holds()); ) {
    if (Date.now() > deadline) throw new Error(otherwise)
    await sleep(50)
  }
}

export function kubeconfigOf({ url, ca, token }: { url: string; ca: string; token: string }): string {
  const certificate = Buffer.from(ca).toString('base64')
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server: url, 'certificate-authority-data': certificate } }],
    users: [{ name: 'test', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    'current-context': 'test',
  })
}
