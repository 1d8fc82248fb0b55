import { RouteDocument, type RouteDocuments, supportedFeatures } from './routes.ts'

/** Documents by the name under which they lie in the routes namespace. */
export type NamedDocuments = ReadonlyMap<string, RouteDocument>

export interface RouteSet {
  /** What is served of each name: the document that lies there now, or the last one that could be taken. */
  readonly taken: NamedDocuments
  readonly documents: RouteDocuments
  /** Names whose document cannot be taken, and why; without any text of it. */
  readonly problems: readonly { readonly name: string; readonly reason: string; readonly isServed: boolean }[]
}

/**
 * One whole set to serve from all the texts that lie in the routes namespace. What this proxy cannot read, or needs what
 * it cannot do, stays as it last was; only what no longer lies there goes.
 */
export function assembleRoutes(
  texts: ReadonlyMap<string, string | undefined>,
  last: NamedDocuments,
  supported: readonly string[] = supportedFeatures,
): RouteSet {
  const taken = new Map<string, RouteDocument>()
  const problems: { name: string; reason: string; isServed: boolean }[] = []
  for (const [name, text] of [...texts].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const { document, reason } = readDocument(text, supported)
    const served = document ?? last.get(name)
    if (served !== undefined) taken.set(name, served)
    if (reason !== undefined) problems.push({ name, reason, isServed: served !== undefined })
  }
  return { taken, documents: documentsOf(taken), problems }
}

export function documentsOf(taken: NamedDocuments): RouteDocuments {
  const routes = [...taken.values()].map(({ route }) => route)
  return {
    upstreams: routes.filter((route) => route.kind === 'Upstream'),
    registries: routes.filter((route) => route.kind === 'VirtualRegistry'),
  }
}

function readDocument(
  text: string | undefined,
  supported: readonly string[],
): { readonly document?: RouteDocument; readonly reason?: string } {
  const value = parseJson(text)
  const needed = neededFeatures(value)
  // first: what it needs may be what makes the rest of it unreadable here
  const missing = needed.filter((feature) => !supported.includes(feature))
  if (missing.length > 0) return { reason: `needs what this version cannot do: ${missing.join(', ')}` }
  const parsed = RouteDocument.safeParse(value)
  return parsed.success ? { document: parsed.data } : { reason: 'is no document that this version can read' }
}

function neededFeatures(value: unknown): string[] {
  const { features } = (typeof value === 'object' && value !== null ? value : {}) as { features?: unknown }
  return Array.isArray(features) ? features.filter((feature) => typeof feature === 'string') : []
}

function parseJson(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : JSON.parse(text)
  } catch {
    return undefined
  }
}
