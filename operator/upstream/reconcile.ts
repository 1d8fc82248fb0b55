import type { UpstreamRoute } from '../../proxy/routes.ts'
import { Upstream } from '../api/upstream.ts'
import type { UpstreamHealth } from '../delivery.ts'
import { observeCustom, type Seen } from '../observed.ts'
import type { ApiError } from '../runtime/api-error.ts'
import type { Verdict } from '../runtime/conditions.ts'
import { isOnItsWay, type Means, notWritten, saidBefore, settleDocument, settleStatus } from '../settle.ts'
import { notAccepted } from '../status.ts'
import { planUpstream, type UpstreamPlan, upstreamStatus } from './plan.ts'

/** Brings the document and the status of one Upstream to what they should be. */
export function createUpstreamReconciler(means: Means): (key: string) => Promise<void> {
  const { world, delivery, patience, now, tell } = means

  /** Brings the document to what it should be. `isEarly`: what is to be said of it is better said in a moment. */
  async function deliver(
    key: string,
    upstream: Seen<Upstream>,
  ): Promise<{
    readonly plan: UpstreamPlan
    readonly programmed: Verdict
    readonly isEarly: boolean
    readonly actions: readonly string[]
    readonly refusal?: ApiError | undefined
  }> {
    const { namespace, name } = upstream.metadata
    const stored = world.documentOf({ kind: 'Upstream', namespace, name })
    const previous = stored?.document?.route
    const decide = (health: UpstreamHealth | undefined) =>
      planUpstream({
        upstream,
        lookup: world.lookup(namespace),
        previous: previous?.kind === 'Upstream' ? previous : undefined,
        health,
      })
    const silent = decide(undefined)
    const { route } = silent
    if (route === undefined) return { plan: silent, programmed: notAccepted, isEarly: false, actions: [] }

    const { document, isWritten, refusal } = await settleDocument(means, route, stored)
    const { revision } = document
    const programmed =
      refusal === undefined
        ? delivery.programmed('Upstream', key, revision, saidBefore(upstream, 'Programmed'))
        : notWritten(refusal, stored)
    const health = healthOf(delivery.health(key, { id: route.id, revision }), upstream, programmed)
    const plan = health === undefined ? silent : decide(health)
    const { Accepted, ResolvedRefs } = plan.verdicts
    const isWhole = programmed.status === 'True' && isHeard(route, health)
    const others = [Accepted, ResolvedRefs]
    const isEarly = refusal === undefined && isOnItsWay(means, key, { revision, isWhole, others })
    return { plan, programmed, isEarly, actions: isWritten ? ['apply document'] : [], refusal }
  }

  return async (key) => {
    const upstream = world.upstreams.get(key)
    if (upstream === undefined || upstream.metadata.isBeingDeleted) {
      delivery.forget('Upstream', key) // its document is swept
      patience.end(key)
      return
    }
    const { plan, programmed, isEarly, refusal, ...delivered } = await deliver(key, upstream)
    const actions = [...delivered.actions]
    if (!isEarly) {
      const status = upstreamStatus({ upstream }, plan, programmed, now(), delivery.cache(key))
      const target = {
        seen: upstream,
        kind: 'Upstream' as const,
        cache: world.upstreams,
        observe: (raw: unknown) => observeCustom(Upstream, raw),
      }
      actions.push(...(await settleStatus(means, target, status)))
    }
    const { namespace, name, generation } = upstream.metadata
    if (actions.length > 0) tell({ kind: 'Upstream', namespace, name, generation, actions })
    if (refusal !== undefined) throw refusal
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
