import type { CleanupPolicy } from '../api/cleanup-policy.ts'
import { formatField } from '../api/parse.ts'
import type { Seen } from '../observed.ts'
import type { Verdict } from '../runtime/conditions.ts'
import { type CommonStatus, commonStatusOf, no, unknown, yes } from '../status.ts'

/**
 * What is said of a policy. This version runs none, and says so where people and tools look: a policy that is right is
 * ready all the same, as there is nothing to wait for.
 */
export function policyStatus(policy: Seen<CleanupPolicy>, now: Date): CommonStatus {
  const whenReady = policy.resource?.spec.suspend ? suspended : notRunYet
  return commonStatusOf(
    policy,
    { judged: { Accepted: acceptedVerdict(policy) }, more: { LastRunSucceeded: neverRun }, whenReady },
    now,
  )
}

const suspended = yes('Suspended', 'the spec is valid; while suspend is true no run begins')
const notRunYet = yes(
  'NotRunYet',
  'the spec is valid; this version of Headwater runs no policies yet: nothing is deleted',
)
const neverRun = unknown('NeverRun', 'no run has begun')

function acceptedVerdict({ resource, problems }: Seen<CleanupPolicy>): Verdict {
  if (resource === undefined) {
    const message = problems.map((each) => `${formatField(each.path)}: ${each.message}`).join('; ')
    return no('InvalidSpec', message)
  }
  const { timeZone } = resource.spec.schedule
  if (isTimeZone(timeZone)) return yes('Accepted', 'the spec is valid')
  return no(
    'UnknownTimeZone',
    `spec.schedule.timeZone: the time zone database has no ${timeZone}; expected a name such as Europe/Berlin or Etc/UTC`,
  )
}

/** As far as this program knows: its copy of the database is that of Node. */
function isTimeZone(name: string): boolean {
  if (/^[+-]/.test(name)) return false // an offset, which Intl takes as well
  try {
    Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}
