import type { Owner, SeenDocument } from './observed.ts'
import type { Cluster } from './runtime/cluster.ts'
import type { Means } from './settle.ts'
import { plurals, type World } from './world.ts'

/** How long until it is looked again whether a kind that was gone is back. */
export const recheckMs = 30_000

/**
 * Deletes the document of an object that is gone, and whatever lies there without an owner. Only for a world that was
 * read whole: what was not seen yet is not gone.
 */
export function createSweeper({
  world,
  cluster,
  tell,
  recheck,
  monotonicNow,
}: Pick<Means, 'world' | 'tell' | 'recheck'> & {
  readonly cluster: Pick<Cluster, 'deleteSecret' | 'isServed'>
  readonly monotonicNow: () => number
}): (key: string) => Promise<void> {
  /** When a definition was not there: all its documents wait, and one of them asks again. */
  const missedAt = new Map<Owner['kind'], number>()

  async function isServed(kind: Owner['kind']): Promise<boolean> {
    if (monotonicNow() - (missedAt.get(kind) ?? -Infinity) < recheckMs) return false
    const isThere = await cluster.isServed(plurals[kind])
    if (!isThere) missedAt.set(kind, monotonicNow())
    return isThere
  }

  return async (key) => {
    const stored = world.documents.get(key)
    if (stored === undefined || !isOrphan(stored, world)) return
    const { owner, metadata } = stored
    // with its definition every object of a kind goes, and nobody meant each of them
    if (owner !== undefined && !(await isServed(owner.kind))) return recheck(key, recheckMs)
    if (!isOrphan(world.documents.get(key) ?? stored, world)) return
    await cluster.deleteSecret(metadata)
    const { kind, namespace, name } = owner ?? { kind: 'Secret', ...metadata }
    tell({ kind, namespace, name, generation: 0, actions: ['delete document'] })
  }
}

function isOrphan({ owner, metadata }: SeenDocument, world: World): boolean {
  if (owner === undefined) return true
  const { kind, namespace, name } = owner
  if (!world.isInScope(namespace)) return false
  const isMisnamed = world.documentKey(owner) !== `${metadata.namespace}/${metadata.name}`
  const cache = kind === 'Upstream' ? world.upstreams : world.registries
  const object = cache.get(`${namespace}/${name}`)
  return isMisnamed || object === undefined || object.metadata.isBeingDeleted
}
