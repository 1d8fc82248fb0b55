import { CleanupPolicy } from '../api/cleanup-policy.ts'
import { observeCustom } from '../observed.ts'
import { type Means, settleStatus } from '../settle.ts'
import { policyStatus } from './plan.ts'

/** Brings the status of one CleanupPolicy to what it should be; nothing else is made of it. */
export function createPolicyReconciler(means: Means): (key: string) => Promise<void> {
  const { world, now, tell } = means

  return async (key) => {
    const policy = world.policies.get(key)
    if (policy === undefined || policy.metadata.isBeingDeleted) return
    const target = {
      seen: policy,
      kind: 'CleanupPolicy' as const,
      cache: world.policies,
      observe: (raw: unknown) => observeCustom(CleanupPolicy, raw),
    }
    const actions = await settleStatus(means, target, policyStatus(policy, now()))
    const { namespace, name, generation } = policy.metadata
    if (actions.length > 0) tell({ kind: 'CleanupPolicy', namespace, name, generation, actions })
  }
}
