import type { UpstreamRoute } from '../../proxy/routes.ts'
import { Upstream } from '../api/upstream.ts'
import type { UpstreamHealth } from '../delivery.ts'
import { observeCustom, type Seen } from '../observed.ts'
import type { Verdict } from '../runtime/conditions.ts'
import { isOnItsWay, type Means, saidBefore, settleDocument, settleStatus } from '../settle.ts'
import { notAccepted } from '../status.ts'
import { planUpstream, upstreamStatus } from './plan.ts'

/** Brings the document and the status of one Upstream to what they should be. */
export function createUpstreamReconciler(means: Means): (key: string) => Promise<void> {
  const { world, delivery, patience, now, tell } = means

  return async (key) => {
    const upstream = world.upstreams.get(key)
    if (upstream === undefined || upstream.metadata.isBeingDeleted) {
      delivery.forget('Upstream', key) // its document is swept
      patience.end(key)
      return
    }
    const { namespace, name, generation } = upstream.metadata
    const stored = world.documentOf({ kind: 'Upstream', namespace, name })
    const previous = stored?.document?.route
    const decide = (health: UpstreamHealth | undefined) =>
      planUpstream({
        upstream,
        lookup: world.lookup(namespace),
        previous: previous?.kind === 'Upstream' ? previous : undefined,
        health,
      })

    let plan = decide(undefined)
    const actions: string[] = []
    const done = () => {
      if (actions.length > 0) tell({ kind: 'Upstream', namespace, name, generation, actions })
    }
    let programmed = notAccepted
    const { route } = plan
    if (route !== undefined) {
      const { document, isWritten } = await settleDocument(means, route, stored)
      if (isWritten) actions.push('apply document')
      const { revision } = document
      programmed = delivery.programmed('Upstream', key, revision, saidBefore(upstream, 'Programmed'))
      const health = healthOf(delivery.health(key, { id: route.id, revision }), upstream, programmed)
      if (health !== undefined) plan = decide(health)
      const { Accepted, ResolvedRefs } = plan.verdicts
      const isWhole = programmed.status === 'True' && isHeard(route, health)
      if (isOnItsWay(means, key, { revision, isWhole, others: [Accepted, ResolvedRefs] })) return done()
    }
    const status = upstreamStatus({ upstream }, plan, programmed, now(), delivery.cache(key))
    const target = {
      seen: upstream,
      kind: 'Upstream' as const,
      cache: world.upstreams,
      observe: (raw: unknown) => observeCustom(Upstream, raw),
    }
    actions.push(...(await settleStatus(means, target, status)))
    done()
  }
}

/** What proxies that came anew have not found out yet stays as it was said of this very document. */
function healthOf(
  heard: UpstreamHealth | undefined,
  seen: Seen<Upstream>,
  programmed: Verdict,
): UpstreamHealth | undefined {
  const isOfThis = saidBefore(seen, 'Programmed')?.message === programmed.message
  if (heard === undefined || programmed.status !== 'True' || !isOfThis) return heard
  return {
    reachable: heard.reachable ?? saidBefore(seen, 'Reachable'),
    credentialsValid: heard.credentialsValid ?? saidBefore(seen, 'CredentialsValid'),
  }
}

/** Whether nothing more is to be expected of the proxies. Undefined health: they are not asked. */
function isHeard({ mode, problem }: UpstreamRoute, health: UpstreamHealth | undefined): boolean {
  if (health === undefined || mode === 'CacheOnly' || problem !== undefined) return true
  return health.reachable !== undefined
}
