import { isDeepStrictEqual } from 'node:util'
import { type Resource, registryResource, upstreamResources } from '../resources.ts'
import { mustSucceed, serverSideApply } from './api-client.ts'
import type { ApiServer } from './api-server.ts'
import { routesNamespace, until } from './installation.ts'

// biome-ignore lint/suspicious/noExplicitAny: as JSON comes
type Body = any

const ours = '/apis/headwater.dev/v1alpha1/namespaces/default'
const secrets = '/api/v1/namespaces/default/secrets'
const documents = `/api/v1/namespaces/${routesNamespace}/secrets`
const lease = '/apis/coordination.k8s.io/v1/namespaces/headwater-system/leases/headwater-operator'
const url = 'https://registry.example.com'

/** What somebody writes, one after the other, and what becomes of it. */
export interface Scenario {
  /** Each begins where the one before has come to rest. */
  readonly steps: readonly Step[]
  /** All that lies there but for versions, revisions and times: what must be the same however it came about. */
  picture(): Promise<Picture>
  /** Deletes all of it, documents and the Lease too; nobody may be at work. */
  clear(): Promise<void>
  /** For the next operator, where the one before was killed. */
  deleteLease(): Promise<void>
}

export interface Step {
  write(): Promise<void>
  /** Whether this is how it ends. */
  isDone(picture: Picture): boolean
}

export interface Picture {
  readonly documents: readonly Body[]
  readonly objects: readonly Body[]
}

/** Two upstreams with a Secret and two registries; another order of one; one of each is deleted. */
export function createScenario({ client }: ApiServer): Scenario {
  const ask = async (...request: Parameters<typeof client.request>) =>
    mustSucceed(await client.request(...request))

  async function apply(resources: readonly Resource[]): Promise<void> {
    for (const resource of resources) {
      const { kind, metadata } = resource as Body
      const folder = kind === 'Secret' ? secrets : `${ours}/${pluralOf(kind)}`
      const path = `${folder}/${metadata.name}?fieldManager=somebody&force=true`
      await ask('PATCH', path, resource, serverSideApply)
    }
  }
  const items = async (path: string): Promise<Body[]> => (await ask('GET', path)).items

  return {
    steps: [
      {
        write: () =>
          apply([
            ...upstreamResources('hub', { url, username: 'me', password: 'canary-scenario' }),
            ...upstreamResources('spare', { url }),
            registryResource('all', ['hub', 'spare']),
            registryResource('few', ['spare']),
          ]),
        isDone: isReady({ hub: 'True', spare: 'True', all: 'True', few: 'True' }),
      },
      {
        write: () => apply([registryResource('all', ['spare', 'hub'])]),
        isDone: isReady({ hub: 'True', spare: 'True', all: 'True', few: 'True' }),
      },
      {
        async write() {
          await ask('DELETE', `${ours}/virtualregistries/all`)
          await ask('DELETE', `${ours}/upstreams/spare`)
        },
        isDone: isReady({ hub: 'True', few: 'False' }),
      },
    ],
    async picture() {
      const [upstreams, registries, stored] = await Promise.all([
        items(`${ours}/upstreams`),
        items(`${ours}/virtualregistries`),
        items(documents),
      ])
      return { objects: [...upstreams, ...registries].map(drawObject), documents: stored.map(drawDocument) }
    },
    async clear() {
      for (const path of [`${ours}/upstreams`, `${ours}/virtualregistries`, secrets, documents]) {
        await ask('DELETE', path)
      }
      await client.request('DELETE', lease)
    },
    async deleteLease() {
      await ask('DELETE', lease)
    },
  }
}

function pluralOf(kind: string): string {
  return kind === 'Upstream' ? 'upstreams' : 'virtualregistries'
}

function drawObject({ kind, metadata: { name, generation, managedFields }, spec, status }: Body): Body {
  const conditions = status?.conditions?.map(({ lastTransitionTime: _, ...rest }: Body) => rest)
  const managers = managedFields.map(({ manager, subresource }: Body) => `${manager} ${subresource}`)
  return { kind, name, generation, spec, status: { ...status, conditions }, managers: managers.toSorted() }
}

function drawDocument({ metadata, type, data }: Body): Body {
  const { revision: _, ...document } = JSON.parse(Buffer.from(data.document, 'base64').toString())
  const { name, annotations, labels } = metadata
  return { name, annotations, labels, type, document }
}

function isReady(wanted: Readonly<Record<string, string>>): Step['isDone'] {
  return ({ objects, documents: drawn }) => {
    const isCurrent = objects.every(({ generation, status }) => status.observedGeneration === generation)
    const said = objects.map(({ name, status }) => [
      name,
      status.conditions?.find(({ type }: Body) => type === 'Ready')?.status,
    ])
    return isCurrent && drawn.length === objects.length && isDeepStrictEqual(Object.fromEntries(said), wanted)
  }
}

/** Waits for it, or throws with what is there instead. */
export async function untilItIs(scenario: Scenario, wanted: Picture, or = () => false): Promise<void> {
  let last: Picture | undefined
  await until(
    async () => {
      last = await scenario.picture()
      return or() || isDeepStrictEqual(last, wanted)
    },
    () => `it is ${JSON.stringify(last, undefined, 1)}`,
  )
}
