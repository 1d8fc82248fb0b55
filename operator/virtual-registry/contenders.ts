import type { VirtualRegistry } from '../api/virtual-registry.ts'
import type { Seen, SeenDocument } from '../observed.ts'
import { groundsOf, heldClaim, type World } from '../world.ts'
import type { Contender } from './contest.ts'

/**
 * All whose claims meet with those of this one, or with those of one that does: a chain of them settles as one.
 * `leaving`: uids of the documents that are being deleted so that others can move.
 */
export function contendersOf(
  registry: Seen<VirtualRegistry>,
  world: Pick<World, 'registries' | 'documents' | 'documentOf' | 'wantedClaim'>,
  leaving: ReadonlySet<string> = new Set(),
): Contender[] {
  const found = new Map<string, Contender>()
  const searched = new Set<string>()

  const add = (each: Seen<VirtualRegistry>): void => {
    const { namespace, name, uid, creationTimestamp, isBeingDeleted } = each.metadata
    if (found.has(`${namespace}/${name}`)) return
    const stored = world.documentOf({ kind: 'VirtualRegistry', namespace, name })
    const held = stored && heldClaim(stored)
    const wanted = isBeingDeleted ? undefined : world.wantedClaim(each)
    const isLeaving = stored !== undefined && leaving.has(stored.metadata.uid)
    const heldSince = stored?.metadata.creationTimestamp
    const known = { namespace, name, uid, creationTimestamp, held, heldSince, wanted, isLeaving }
    found.set(`${namespace}/${name}`, known)
    for (const ground of [...groundsOf(held), ...groundsOf(wanted)]) search(ground)
  }
  const search = (ground: string): void => {
    if (searched.has(ground)) return
    searched.add(ground)
    for (const each of world.registries.select('claim', ground)) add(each)
    for (const stored of world.documents.select('claim', ground)) {
      const { owner } = stored
      const live = owner && world.registries.get(`${owner.namespace}/${owner.name}`)
      if (live !== undefined) add(live)
      else found.set(`document ${stored.metadata.name}`, orphan(stored))
    }
  }
  add(registry)
  return [...found.values()]
}

/** What is served of a registry that is gone holds its place until it is swept. */
function orphan(stored: SeenDocument): Contender {
  const { uid, creationTimestamp } = stored.metadata
  const { namespace, name } = stored.owner! // whoever holds anything says who it is
  const held = heldClaim(stored)
  return { namespace, name, uid, creationTimestamp, held, heldSince: creationTimestamp, wanted: undefined }
}
