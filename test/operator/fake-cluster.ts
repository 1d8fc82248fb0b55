import { type OperatorOptions, runOperator } from '../../operator/operator.ts'
import { ApiError } from '../../operator/runtime/api-error.ts'
import type { Cluster, SecretToApply } from '../../operator/runtime/cluster.ts'
import type { KubernetesClient, WatchEvent } from '../../operator/runtime/kubernetes-client.ts'
import { type Grants, parsePathGrant } from '../../operator/virtual-registry/grants.ts'
import { createWorld, type plurals } from '../../operator/world.ts'
import type { RouteDocument } from '../../proxy/routes.ts'

// biome-ignore lint/suspicious/noExplicitAny: as JSON comes
type Json = any

export const routesNamespace = 'routes'

/** What a killed program meets at its next write. */
export class Killed extends Error {
  override readonly name = 'Killed'
}

interface Watcher {
  readonly accepts: (plural: string, object: Json) => boolean
  readonly tell: (event: WatchEvent) => void
  readonly end: (error?: unknown) => void
}

/** A cluster in memory: objects with versions, lists, watches that may misbehave, and writes that may be the last ones. */
export function createFakeCluster() {
  const objects = new Map<string, { plural: string; object: Json }>()
  const watchers = new Set<Watcher>()
  let version = 100
  let uids = 0
  const writes: string[] = []
  const fault = {
    /** Before which write from now on the program is killed; after it with `isAfter`. */
    killAt: Number.POSITIVE_INFINITY,
    isAfter: false,
    /** Kinds whose definition is gone. */
    unserved: new Set<string>(),
    /** Why a write is refused. */
    refusal: (_what: string): Error | undefined => undefined,
    /** What a write waits for on its way. */
    delay: (_what: string): Promise<void> | undefined => undefined,
    /** What becomes of each event: how often it is told. */
    repeat: (_plural: string): number => 1,
  }
  const idOf = (plural: string, namespace: string, name: string) => `${plural}/${namespace}/${name}`

  function store(plural: string, object: Json, type: 'ADDED' | 'MODIFIED' | 'DELETED'): Json {
    version += 1
    const { namespace, name } = object.metadata
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } }
    const id = idOf(plural, namespace, name)
    if (type === 'DELETED') objects.delete(id)
    else objects.set(id, { plural, object: stored })
    const times = fault.repeat(plural)
    queueMicrotask(() => {
      for (const watcher of [...watchers]) {
        if (!watcher.accepts(plural, stored)) continue
        for (let time = 0; time < times; time++) watcher.tell({ type, object: structuredClone(stored) })
      }
    })
    return structuredClone(stored)
  }

  /** As a person with kubectl. */
  function apply(plural: string, object: Json): void {
    const { namespace = 'default', name } = object.metadata
    const earlier = objects.get(idOf(plural, namespace, name))?.object
    const isSameSpec = JSON.stringify(earlier?.spec) === JSON.stringify(object.spec)
    uids += 1
    const metadata = {
      ...earlier?.metadata,
      creationTimestamp: new Date(1_700_000_000_000 + uids * 1000).toISOString(),
      uid: `uid-${uids}`,
      ...(earlier && { creationTimestamp: earlier.metadata.creationTimestamp, uid: earlier.metadata.uid }),
      ...object.metadata,
      namespace,
      generation: (earlier?.metadata.generation ?? 0) + (earlier && isSameSpec ? 0 : 1),
    }
    const status = earlier?.status ?? (object.spec ? { observedGeneration: -1 } : undefined)
    store(plural, { ...object, metadata, ...(status && { status }) }, earlier ? 'MODIFIED' : 'ADDED')
  }

  function remove(plural: string, name: string, namespace = 'default'): void {
    const found = objects.get(idOf(plural, namespace, name))
    if (found) store(plural, found.object, 'DELETED')
  }

  function write<T>(what: string, effect: () => T): T {
    const refusal = fault.refusal(what)
    if (refusal !== undefined) throw refusal
    const isLast = --fault.killAt < 1
    if (isLast && !fault.isAfter) throw new Killed(what)
    const result = effect()
    writes.push(what)
    if (isLast) throw new Killed(what)
    return result
  }

  const cluster: Cluster = {
    async applySecret({ name, ...secret }: SecretToApply, { isDryRun = false } = {}) {
      await fault.delay(`apply ${name}`)
      const refusal = fault.refusal(`apply ${name}`)
      if (refusal !== undefined) throw refusal
      if (isDryRun) return
      return write(`apply ${name}`, () => {
        const earlier = objects.get(idOf('secrets', routesNamespace, name))?.object
        const metadata = {
          ...{ uid: `secret-${++uids}`, creationTimestamp: '2026-01-01T00:00:00Z' },
          ...earlier?.metadata,
          ...{ namespace: routesNamespace, name, annotations: secret.annotations },
        }
        return store('secrets', { ...secret, metadata }, earlier ? 'MODIFIED' : 'ADDED')
      })
    },
    async deleteSecret({ name, uid }) {
      write(`delete ${name}`, () => {
        const found = objects.get(idOf('secrets', routesNamespace, name))
        if (found?.object.metadata.uid === uid) store('secrets', found.object, 'DELETED')
      })
    },
    async applyStatus({ plural, namespace, name, uid }, status) {
      return write(`status ${plural}/${name}`, () => {
        const found = objects.get(idOf(plural, namespace, name))
        if (found?.object.metadata.uid !== uid) return undefined
        return store(plural, { ...found!.object, status: structuredClone(status) }, 'MODIFIED')
      })
    },
    isServed: async (plural) => !fault.unserved.has(plural),
  }

  const listed = (accepts: Watcher['accepts']) => ({
    metadata: { resourceVersion: String(version) },
    items: [...objects.values()]
      .filter(({ plural, object }) => accepts(plural, object))
      .map(({ object }) => structuredClone(object)),
  })
  const typed = (fieldSelector = '') => fieldSelector.replace('type=', '')
  const client = {
    custom: {
      listClusterCustomObject: async ({ plural: wanted }: { plural: string }) => {
        if (fault.unserved.has(wanted)) throw new ApiError(404, 'NotFound')
        return listed((plural) => plural === wanted)
      },
    },
    core: {
      listSecretForAllNamespaces: async ({ fieldSelector }: { fieldSelector: string }) =>
        listed((plural, { type }) => plural === 'secrets' && type === typed(fieldSelector)),
      listNamespacedSecret: async ({
        fieldSelector,
        namespace,
      }: {
        fieldSelector: string
        namespace: string
      }) =>
        listed(
          (plural, { type, metadata }) =>
            plural === 'secrets' && type === typed(fieldSelector) && metadata.namespace === namespace,
        ),
      listConfigMapForAllNamespaces: async () => listed((plural) => plural === 'configmaps'),
    },
    watch(
      path: string,
      query: { fieldSelector?: string; resourceVersion: string },
      tell: Watcher['tell'],
      signal: AbortSignal,
    ) {
      const wanted = path.split('/').at(-1)
      const type = typed(query.fieldSelector)
      return new Promise<void>((resolve, reject) => {
        if (Number(query.resourceVersion) < version) return reject(new ApiError(410, 'Expired')) // it keeps no past
        const watcher: Watcher = {
          accepts: (plural, object) => plural === wanted && (type === '' || object.type === type),
          tell,
          end: (error) => {
            watchers.delete(watcher)
            if (error === undefined) resolve()
            else reject(error)
          },
        }
        watchers.add(watcher)
        signal.addEventListener('abort', () => watcher.end(), { once: true })
      })
    },
  } as unknown as KubernetesClient

  return {
    client,
    cluster,
    fault,
    writes,
    apply,
    remove,
    /** Every watch must read its list again: whatever happened meanwhile was told to nobody. */
    breakWatches() {
      for (const watcher of [...watchers]) watcher.end(new ApiError(410, 'Expired'))
    },
    get: (plural: string, name: string, namespace = 'default'): Json =>
      objects.get(idOf(plural, namespace, name))?.object,
    documents: (): RouteDocument[] =>
      [...objects.values()]
        .filter(({ object }) => object.metadata.namespace === routesNamespace)
        .map(({ object }) => JSON.parse(Buffer.from(object.data.document, 'base64').toString())),
    /** All that is there but for versions, revisions and times: what must be the same however it came about. */
    picture: (): unknown =>
      [...objects.values()]
        .map(({ plural, object }) => {
          const { namespace, name } = object.metadata
          const text = object.data?.document && Buffer.from(object.data.document, 'base64').toString()
          const conditions = object.status?.conditions?.map(
            ({ lastTransitionTime: _, ...rest }: Json) => rest,
          )
          return {
            ...{ plural, namespace, name },
            ...(text && { route: JSON.parse(text).route }),
            ...(object.status && { status: { ...object.status, conditions } }),
          }
        })
        .toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
  }
}

export type FakeCluster = ReturnType<typeof createFakeCluster>

export const grants: Grants = { paths: [parsePathGrant('default=shared')!], hosts: [] }

/** The operator as a leader over it, until it is stopped or killed. */
export function startFakeOperator(
  fake: FakeCluster,
  more: Partial<Pick<OperatorOptions, 'delivery' | 'patienceMs'>> = {},
) {
  const ending = new AbortController()
  const { promise: killed, resolve: kill } = Promise.withResolvers<boolean>()
  const errors: unknown[] = []
  let revisions = 0
  const world = createWorld({
    ...{ client: fake.client, routesNamespace, watchNamespaces: [], grants },
    sleep: async () => new Promise((resolve) => setTimeout(resolve, 1)),
  })
  const reading = world.run(ending.signal)
  const running = runOperator(
    {
      world,
      cluster: fake.cluster,
      events: { record() {}, flush: async () => {} },
      grants,
      externalUrl: 'https://registry.example.com',
      now: () => new Date(),
      newRevision: () => `${Math.random()}-${++revisions}`,
      tell: () => {},
      onError(_controller, _key, error) {
        errors.push(error)
        if (!(error instanceof Killed)) return
        fake.fault.killAt = 0 // nothing is written any more
        kill(true)
      },
      metrics: { controller: () => ({ ...silent, watch: () => {} }) },
      patienceMs: 0,
      ...more,
    },
    ending.signal,
  )
  return {
    errors,
    /** Resolves true when it was killed before it had nothing more to do. */
    async untilIdle(): Promise<boolean> {
      let last = -1
      const idle = (async () => {
        for (let quiet = 0; quiet < 3; ) {
          await new Promise((resolve) => setTimeout(resolve, 4))
          quiet = fake.writes.length === last ? quiet + 1 : 0
          last = fake.writes.length
        }
        return false
      })()
      return Promise.race([idle, killed])
    },
    async stop(): Promise<void> {
      ending.abort()
      await Promise.all([running, reading])
    },
  }
}

const silent = {
  added() {},
  taken() {},
  done() {},
  retried() {},
  reconciled() {},
  activeWorkers() {},
}

export const resource = (kind: keyof typeof plurals, name: string, spec: unknown, annotations = {}) => ({
  ...{ apiVersion: 'headwater.dev/v1alpha1', kind, metadata: { name, annotations }, spec },
})
