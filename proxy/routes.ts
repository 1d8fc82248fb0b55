import { createHash } from 'node:crypto'
import { z } from 'zod'

/**
 * The contract between the operator, which compiles these documents, and the proxy, which serves them: all that a pull
 * needs and nothing of Kubernetes. The one file of the proxy that the operator imports.
 */

export const UpstreamRoute = z.object({
  kind: z.literal('Upstream'),
  namespace: z.string(),
  name: z.string(),
  /** sha256 of [namespace, name, url, account] in hex: names the cache of this upstream. */
  id: z.string().regex(/^[a-f0-9]{64}$/),
  /** Scheme, host, port and trust settings, hashed: what possession of bytes is remembered for. */
  origin: z.string(),
  /** Normalised: lower-case scheme and host, no default port, no trailing slash, no `/v2`. May have a path. */
  url: z.string(),
  credentials: z.object({ username: z.string(), password: z.string() }).optional(),
  /** PEM texts. `ca` replaces the system's roots. */
  tls: z
    .object({ ca: z.string().optional(), certificate: z.string().optional(), key: z.string().optional() })
    .optional(),
  revalidation: z.object({
    policy: z.enum(['AfterValidity', 'Always', 'Never']),
    validitySeconds: z.number().int().min(1),
  }),
  /** Put before names of one component, without a slash at its end. */
  defaultRepositoryPrefix: z.string().optional(),
  /** Hosts, with a port where it is not 443, a token may be asked from beside the upstream's own registrable domain. */
  tokenServiceHosts: z.array(z.string()),
  /** Lower-case hosts this upstream answers to in `?ns=`: the URL's, its known aliases, `mirrorOf`. */
  namespaceHosts: z.array(z.string()),
  mode: z.enum(['Active', 'CacheOnly']),
  /** Set when it cannot be asked (no Secret, not Accepted): it keeps its place, its cache serves, asking it is trouble. */
  problem: z.string().optional(),
})
export type UpstreamRoute = Readonly<z.infer<typeof UpstreamRoute>>

export const AccessRule = z.object({
  subjects: z.array(z.object({ type: z.literal('Anonymous') })),
  verbs: z.array(z.literal('Pull')),
  /** Globs over the repository as the client wrote it, without the registry's path. */
  repositories: z.array(z.string()),
})
export type AccessRule = Readonly<z.infer<typeof AccessRule>>

export const RegistryRoute = z.object({
  kind: z.literal('VirtualRegistry'),
  namespace: z.string(),
  name: z.string(),
  path: z.string(),
  /** Lower-case, without a port. */
  hosts: z.array(z.string()),
  upstreams: z.array(
    z.object({
      name: z.string(),
      /** Globs over the name as sent upstream. */
      include: z.array(z.string()),
      exclude: z.array(z.string()),
      failurePolicy: z.enum(['Fail', 'Ignore']),
    }),
  ),
  access: z.object({ rules: z.array(AccessRule) }),
  blobDelivery: z.enum(['Proxy', 'Redirect']),
  serving: z.enum(['Enabled', 'Disabled']),
})
export type RegistryRoute = Readonly<z.infer<typeof RegistryRoute>>

export const RouteDocuments = z.object({
  upstreams: z.array(UpstreamRoute),
  registries: z.array(RegistryRoute),
})
/** A whole set, swapped at once. A registry refers to the upstreams of its own namespace by name. */
export type RouteDocuments = Readonly<z.infer<typeof RouteDocuments>>

/**
 * What a document may need that not every proxy can do, by name. A proxy that lacks one does not take the document: it
 * would serve something else than was written. Fields that an older proxy may ignore need none.
 */
export const features = ['redirect'] as const
export type Feature = (typeof features)[number]

/** What this program's proxy can do. */
export const supportedFeatures: readonly string[] = features

/** How one route lies in the routes namespace: a Secret of this type, with the JSON of a RouteDocument under this key. */
export const routeSecretType = 'headwater.dev/route'
export const routeSecretKey = 'document'
/** In bytes of JSON. */
export const longestDocument = 256 * 1024

export const RouteDocument = z.object({
  /** Names of features; also such as are not known here yet. */
  features: z.array(z.string()),
  /** Another one whenever the route is another. It says nothing of the route: there are secrets in it. */
  revision: z.string(),
  route: z.discriminatedUnion('kind', [UpstreamRoute, RegistryRoute]),
})
export type RouteDocument = Readonly<z.infer<typeof RouteDocument>>

export function featuresOf(route: UpstreamRoute | RegistryRoute): Feature[] {
  return route.kind === 'VirtualRegistry' && route.blobDelivery === 'Redirect' ? ['redirect'] : []
}

/**
 * What a registry serves as a whole: its own document and those of its upstreams, in order. Undefined for one that is
 * not there.
 */
export function registryRevision(own: string, upstreams: readonly (string | undefined)[]): string {
  const parts = [own, ...upstreams.map((revision) => revision ?? '')]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32)
}

/**
 * What one proxy last met with at an upstream. `id` and `revision` are those of the document it was asked with: a word
 * about another one may be out of date.
 */
export const UpstreamWord = z.object({
  id: z.string(),
  revision: z.string(),
  /** Undefined when it answered; else what was in the way, for people. */
  trouble: z.object({ kind: z.string(), message: z.string() }).optional(),
  /** Undefined while they were not refused. */
  refused: z.string().optional(),
})
export type UpstreamWord = Readonly<z.infer<typeof UpstreamWord>>

export const CacheCount = z.object({
  entries: z.number().int().min(0),
  bytes: z.number().int().min(0),
  /** When these very numbers were first counted, in ISO 8601. */
  observedTime: z.string(),
})
export type CacheCount = Readonly<z.infer<typeof CacheCount>>

/** What a proxy says of itself to the operator. Keys are `<namespace>/<name>` where nothing else is said. */
export const ProxyState = z.object({
  /** Another one whenever anything else here is another. */
  version: z.string(),
  proxy: z.object({ id: z.string(), version: z.string() }),
  isReady: z.boolean(),
  isDraining: z.boolean(),
  /** The revision that is served of each, as `registryRevision` makes it. */
  registries: z.record(z.string(), z.string()),
  /** The revision of the document that is used of each. */
  upstreams: z.record(z.string(), z.string()),
  /** By the name of its Secret, why a document cannot be taken; what was served before is served on. */
  problems: z.record(z.string(), z.string()).default({}),
  health: z.record(z.string(), UpstreamWord).default({}),
  /**
   * Of the index this proxy keeps, or counts for all that share it; empty where another counts. Absent until it was
   * counted, or is known to be another's to count.
   */
  cache: z.record(z.string(), CacheCount).optional(),
})
export type ProxyState = Readonly<z.infer<typeof ProxyState>>

/** Where a proxy says it, on its internal listener: `?after=<version>&wait=<seconds>` waits for another version. */
export const statePath = '/internal/v1/state'
