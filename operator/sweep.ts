import type { SeenDocument } from './observed.ts'
import type { Cluster } from './runtime/cluster.ts'
import type { Means } from './settle.ts'
import { plurals, type World } from './world.ts'

/**
 * Deletes the document of an object that is gone, and whatever lies there without an owner. Only for a world that was
 * read whole: what was not seen yet is not gone.
 */
export function createSweeper({
  world,
  cluster,
  tell,
  recheck,
}: Pick<Means, 'world' | 'tell'> & {
  readonly cluster: Pick<Cluster, 'deleteSecret' | 'isServed'>
  /** Asks for this key to be looked at again later. */
  recheck(key: string): void
}): (key: string) => Promise<void> {
  return async (key) => {
    const stored = world.documents.get(key)
    if (stored === undefined || !isOrphan(stored, world)) return
    const { owner, metadata } = stored
    // with its definition every object of a kind goes, and nobody meant each of them
    if (owner !== undefined && !(await cluster.isServed(plurals[owner.kind]))) return recheck(key)
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
