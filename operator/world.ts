import { routeSecretType } from '../proxy/routes.ts'
import { CleanupPolicy } from './api/cleanup-policy.ts'
import { Upstream } from './api/upstream.ts'
import { VirtualRegistry } from './api/virtual-registry.ts'
import { documentName } from './documents.ts'
import {
  type Owner,
  observeConfigMap,
  observeCustom,
  observeDocument,
  observeSecret,
  type Seen,
  type SeenConfigMap,
  type SeenDocument,
  type SeenSecret,
} from './observed.ts'
import { createKindCache, type KindCache, type ScopedSource } from './runtime/kind-cache.ts'
import type { KubernetesClient } from './runtime/kubernetes-client.ts'
import { configMapSource, customSource, secretSource } from './runtime/sources.ts'
import type { Lookup } from './upstream/tls.ts'
import type { Claim } from './virtual-registry/claims.ts'
import type { Grants } from './virtual-registry/grants.ts'
import { wantedClaim } from './virtual-registry/plan.ts'

export const plurals = {
  Upstream: 'upstreams',
  VirtualRegistry: 'virtualregistries',
  CleanupPolicy: 'cleanuppolicies',
} as const

/** The types of Secrets that mean something here; no others are read. */
export const acceptedSecretTypes = [
  'kubernetes.io/dockerconfigjson',
  'kubernetes.io/basic-auth',
  'kubernetes.io/tls',
] as const

/** Each may have a mebibyte, and a page is in memory as bytes, as text and as objects at once. */
const manyBytesPage = 20

/** All that is seen of the cluster, kept up to date by watches. */
export interface World {
  readonly upstreams: KindCache<Seen<Upstream>>
  readonly registries: KindCache<Seen<VirtualRegistry>>
  readonly policies: KindCache<Seen<CleanupPolicy>>
  readonly secrets: KindCache<SeenSecret>
  readonly configMaps: KindCache<SeenConfigMap>
  readonly documents: KindCache<SeenDocument>
  /** Of one namespace: nothing of another can be reached through it. */
  lookup(namespace: string): Lookup
  documentOf(owner: Owner): SeenDocument | undefined
  documentKey(owner: Owner): string
  /** What a registry wants for itself alone. Of the same one it is worked out once: all that share its ground ask for it. */
  wantedClaim(registry: Seen<VirtualRegistry>): Claim | undefined
  /** Whether objects of this namespace are this operator's to care for. */
  isInScope(namespace: string): boolean
  /** Resolves when everything was read once. */
  readonly synced: Promise<unknown>
  /** What was not read yet, for people. */
  unsynced(): string[]
  run(signal: AbortSignal): Promise<unknown>
}

export interface WorldOptions {
  readonly client: KubernetesClient
  readonly routesNamespace: string
  /** Empty for all. */
  readonly watchNamespaces: readonly string[]
  readonly grants: Grants
  onFailure?(source: string, error: unknown): void
  onRecovery?(source: string): void
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>
}

export function createWorld({
  client,
  routesNamespace,
  watchNamespaces,
  grants,
  ...reading
}: WorldOptions): World {
  const scopes = watchNamespaces.length === 0 ? [undefined] : [...new Set(watchNamespaces)]
  const inScopes = (of: (namespace: string | undefined) => ScopedSource['source'][]): ScopedSource[] =>
    scopes.flatMap((namespace) => of(namespace).map((source) => ({ namespace, source })))

  const wanted = new WeakMap<Seen<VirtualRegistry>, { readonly claim: Claim | undefined }>()
  const wantedOf = (seen: Seen<VirtualRegistry>) => {
    const known = wanted.get(seen) ?? { claim: wantedClaim(seen, grants) }
    wanted.set(seen, known)
    return known.claim
  }

  const upstreams = createKindCache({
    sources: inScopes((namespace) => [customSource(client, plurals.Upstream, { namespace })]),
    transform: (raw) => observeCustom(Upstream, raw),
    indexers: { secret: secretsOf, configMap: configMapsOf },
    ...reading,
  })
  const registries = createKindCache({
    sources: inScopes((namespace) => [customSource(client, plurals.VirtualRegistry, { namespace })]),
    transform: (raw) => observeCustom(VirtualRegistry, raw),
    indexers: { upstream: upstreamsOf, claim: (seen) => groundsOf(wantedOf(seen)) },
    ...reading,
  })
  const policies = createKindCache({
    sources: inScopes((namespace) => [customSource(client, plurals.CleanupPolicy, { namespace })]),
    transform: (raw) => observeCustom(CleanupPolicy, raw),
    ...reading,
  })
  const secrets = createKindCache({
    sources: inScopes((namespace) =>
      acceptedSecretTypes.map((type) => secretSource(client, type, { namespace })),
    ),
    transform: observeSecret,
    pageSize: manyBytesPage,
    ...reading,
  })
  const configMaps = createKindCache({
    sources: inScopes((namespace) => [configMapSource(client, { namespace })]),
    transform: observeConfigMap,
    pageSize: manyBytesPage,
    ...reading,
  })
  const documents = createKindCache({
    sources: [
      {
        namespace: routesNamespace,
        source: secretSource(client, routeSecretType, { namespace: routesNamespace }),
      },
    ],
    transform: observeDocument,
    indexers: { claim: (seen) => groundsOf(heldClaim(seen)) },
    ...reading,
  })
  const caches = [upstreams, registries, policies, secrets, configMaps, documents]
  const documentKey = (owner: Owner) => `${routesNamespace}/${documentName(owner)}`

  return {
    upstreams,
    registries,
    policies,
    secrets,
    configMaps,
    documents,
    lookup: (namespace) => ({
      secret: (name) => secrets.get(`${namespace}/${name}`),
      configMap: (name) => configMaps.get(`${namespace}/${name}`),
    }),
    documentKey,
    wantedClaim: wantedOf,
    documentOf: (owner) => documents.get(documentKey(owner)),
    isInScope: (namespace) => watchNamespaces.length === 0 || watchNamespaces.includes(namespace),
    synced: Promise.all(caches.map(({ synced }) => synced)),
    unsynced: () => caches.flatMap((cache) => cache.unsynced()),
    run: (signal) => Promise.all(caches.map((cache) => cache.run(signal))),
  }
}

/** What the proxies serve of a registry for it alone. */
export function heldClaim({ claim }: Pick<SeenDocument, 'claim'>): Claim | undefined {
  return claim
}

/** Claims that can meet have one of these in common: the first component of the path, or a host. */
export function groundsOf(claim: Claim | undefined): string[] {
  if (claim === undefined) return []
  return [`path ${claim.path.split('/', 1)[0]}`, ...claim.hosts.map((host) => `host ${host}`)]
}

function secretsOf({ metadata, resource }: Seen<Upstream>): string[] {
  const { credentialsSecretRef, tls } = resource?.spec ?? {}
  const authority = tls?.caCertificateRef?.kind === 'Secret' ? tls.caCertificateRef.name : undefined
  return [credentialsSecretRef?.name, tls?.clientCertificateSecretRef?.name, authority].flatMap((name) =>
    name === undefined ? [] : [`${metadata.namespace}/${name}`],
  )
}

function configMapsOf({ metadata, resource }: Seen<Upstream>): string[] {
  const ref = resource?.spec.tls?.caCertificateRef
  return ref?.kind === 'ConfigMap' ? [`${metadata.namespace}/${ref.name}`] : []
}

function upstreamsOf({ metadata, resource }: Seen<VirtualRegistry>): string[] {
  return (resource?.spec.upstreams ?? []).map(
    ({ upstreamRef }) => `${metadata.namespace}/${upstreamRef.name}`,
  )
}
