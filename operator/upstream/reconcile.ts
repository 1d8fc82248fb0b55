import { Upstream } from '../api/upstream.ts'
import { observeCustom } from '../observed.ts'
import { type Means, settleDocument, settleStatus } from '../settle.ts'
import { notAccepted } from '../status.ts'
import { planUpstream, upstreamStatus } from './plan.ts'

/** Brings the document and the status of one Upstream to what they should be. */
export function createUpstreamReconciler(means: Means): (key: string) => Promise<void> {
  const { world, delivery, now, tell } = means

  return async (key) => {
    const upstream = world.upstreams.get(key)
    if (upstream === undefined || upstream.metadata.isBeingDeleted) return // its document is swept
    const { namespace, name, generation } = upstream.metadata
    const stored = world.documentOf({ kind: 'Upstream', namespace, name })
    const previous = stored?.document?.route
    const plan = planUpstream({
      upstream,
      lookup: world.lookup(namespace),
      previous: previous?.kind === 'Upstream' ? previous : undefined,
      health: delivery.health(key),
    })

    const actions: string[] = []
    let programmed = notAccepted
    if (plan.route !== undefined) {
      const { document, isWritten } = await settleDocument(means, plan.route, stored)
      if (isWritten) actions.push('apply document')
      programmed = delivery.programmed('Upstream', key, document.revision)
    }
    const status = upstreamStatus({ upstream }, plan, programmed, now())
    const target = {
      seen: upstream,
      kind: 'Upstream' as const,
      cache: world.upstreams,
      observe: (raw: unknown) => observeCustom(Upstream, raw),
    }
    if (await settleStatus(means, target, status)) actions.push('apply status')
    if (actions.length > 0) tell({ kind: 'Upstream', namespace, name, generation, actions })
  }
}
