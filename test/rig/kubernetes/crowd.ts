import { registryResource, upstreamResources } from '../resources.ts'
import { type ApiClient, mustSucceed } from './api-client.ts'
import type { ApiServer } from './api-server.ts'

const apis = '/apis/headwater.dev/v1alpha1'
export const perNamespace = { upstreams: 30, registries: 10, upstreamsOfEach: 3 } as const

/** Stores registries and upstreams in many namespaces, with an account in each, before anybody looks at them. */
export async function storeCrowd(
  server: ApiServer,
  { namespaces, upstreamUrl }: { readonly namespaces: number; readonly upstreamUrl: string },
): Promise<void> {
  const names = Array.from({ length: namespaces }, (_, at) => `team-${at}`)
  for (const name of names) await server.createNamespace(name)
  await inTurns(names, async (namespace) => {
    const post = (path: string, object: unknown) =>
      server.client.request('POST', path, object).then(mustSucceed)
    const options = { url: upstreamUrl, username: 'me', password: 'canary-crowd', namespace }
    const [hub, login] = upstreamResources('up', options)
    await post(`/api/v1/namespaces/${namespace}/secrets`, login)
    for (let at = 0; at < perNamespace.upstreams; at++) {
      const metadata = { name: `up-${at}`, namespace }
      await post(`${apis}/namespaces/${namespace}/upstreams`, { ...hub, metadata })
    }
    for (let at = 0; at < perNamespace.registries; at++) {
      const upstreams = Array.from(
        { length: perNamespace.upstreamsOfEach },
        (_, each) => `up-${at * 3 + each}`,
      )
      const path = `${apis}/namespaces/${namespace}/virtualregistries`
      await post(path, registryResource(`all-${at}`, upstreams, { namespace }))
    }
  })
}

/** Secrets of other programs, of all types, the first of them as big as Secrets get where somebody keeps bundles in them. */
export async function storeStrangers(
  client: ApiClient,
  { count, big }: { readonly count: number; readonly big: number },
): Promise<void> {
  const path = '/api/v1/namespaces/default/secrets'
  await inTurns(Array.from({ length: count }), async (_, at) => {
    const text = 'x'.repeat(at < big ? 300_000 : 3_000)
    const kinds = [
      { type: 'Opaque', stringData: { text } },
      { type: 'helm.sh/release.v1', stringData: { release: text } },
      { type: 'kubernetes.io/tls', stringData: { 'tls.crt': text, 'tls.key': 'key' } },
      {
        type: 'kubernetes.io/dockerconfigjson',
        stringData: { '.dockerconfigjson': JSON.stringify({ text }) },
      },
    ]
    const metadata = { name: `stranger-${at}` }
    mustSucceed(await client.request('POST', path, { metadata, ...kinds[at % kinds.length] }))
  })
}

/** How many of the crowd are not Ready, of both kinds. */
export async function countUnready(client: ApiClient): Promise<number> {
  const lists = await Promise.all(
    ['upstreams', 'virtualregistries'].map((plural) =>
      client.request('GET', `${apis}/${plural}?resourceVersion=0`),
    ),
  )
  const objects: Json[] = lists.flatMap((list) => mustSucceed(list).items)
  return objects.filter(
    ({ status }) =>
      !status?.conditions?.some((each: Json) => each.type === 'Ready' && each.status === 'True'),
  ).length
}

// biome-ignore lint/suspicious/noExplicitAny: as JSON comes
type Json = any

/** What was written by anybody since the API server started: `apply upstreams/status` → how often. */
export async function countWrites(client: ApiClient): Promise<ReadonlyMap<string, number>> {
  const { body } = await client.request('GET', '/metrics')
  const counts = new Map<string, number>()
  for (const [, labels = '', count] of String(body).matchAll(/^apiserver_request_total\{(.*)\} (\S+)$/gm)) {
    const of = (name: string) => new RegExp(`\\b${name}="([^"]*)"`).exec(labels)?.[1] ?? ''
    if (!['POST', 'PUT', 'PATCH', 'APPLY', 'DELETE', 'DELETECOLLECTION'].includes(of('verb'))) continue
    const subresource = of('subresource')
    const what = `${of('verb').toLowerCase()} ${of('resource')}${subresource && `/${subresource}`}`
    counts.set(what, (counts.get(what) ?? 0) + Number(count))
  }
  return counts
}

/** What is in `after` beyond what was in `before`. */
export function writesBetween(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): Record<string, number> {
  const more = [...after].map(([what, count]) => [what, count - (before.get(what) ?? 0)] as const)
  return Object.fromEntries(more.filter(([, count]) => count > 0))
}

/** Eight at a time, as many as the client has connections. */
async function inTurns<T>(items: readonly T[], work: (item: T, at: number) => Promise<void>): Promise<void> {
  const left = items.entries()
  const worker = async () => {
    for (const [at, item] of left) await work(item, at)
  }
  await Promise.all(Array.from({ length: 8 }, worker))
}
