import type { Condition } from './api/condition.ts'
import { reconcileRequestedAnnotation } from './api/object.ts'
import type { Seen } from './observed.ts'
import { conditionsOf, summarise, type Verdict } from './runtime/conditions.ts'
import type { Happening } from './runtime/events.ts'

/** What Ready sums up, the gravest first. */
export type Judged = { readonly Accepted: Verdict } & Readonly<Record<string, Verdict>>

export const yes = (reason: string, message: string): Verdict => ({ status: 'True', reason, message })
export const no = (reason: string, message: string): Verdict => ({ status: 'False', reason, message })
export const unknown = (reason: string, message: string): Verdict => ({ status: 'Unknown', reason, message })

/** Of what was not accepted nothing else can be said. */
export const notAccepted: Verdict = unknown('NotAccepted', 'the spec is not accepted')

/** What is said of it is that it is not accepted, unless something is served on that is to be another or to stop. */
export function programmedOf(accepted: Verdict, programmed: Verdict): Verdict {
  return accepted.status === 'True' || programmed.reason === 'NotWritten' ? programmed : notAccepted
}

/**
 * What no time will mend: somebody has to write something else. Tools that wait by kstatus give up on it at once, and go
 * on waiting over any other Ready=False: a reference that is missing may be on its way.
 */
function stalledOver({ status, reason, message }: Verdict): Readonly<Record<string, Verdict>> {
  return status === 'False' ? { Stalled: yes(reason, message) } : {}
}

const served = yes('Ready', 'what is written is what is served')

/** The part of a status that every kind has. Ready is all that is judged together, and nothing else. */
export function commonStatusOf(
  { metadata, status }: Seen<unknown>,
  {
    judged,
    more = {},
    whenReady = served,
  }: {
    readonly judged: Judged
    readonly more?: Readonly<Record<string, Verdict>>
    readonly whenReady?: Verdict
  },
  now: Date,
): CommonStatus {
  const ready = summarise(Object.values(judged), whenReady)
  const { generation } = metadata
  const handled = metadata.annotations[reconcileRequestedAnnotation]?.slice(0, 253)
  return {
    observedGeneration: generation,
    conditions: conditionsOf(
      { Ready: ready, ...judged, ...more, ...stalledOver(judged.Accepted) },
      { previous: status.conditions, generation, now },
    ),
    ...(handled === undefined ? {} : { lastHandledReconcileAt: handled }),
  }
}

export interface CommonStatus {
  readonly observedGeneration: number
  readonly conditions: readonly Condition[]
  readonly lastHandledReconcileAt?: string
}

const told = ['Ready', 'Reachable', 'CredentialsValid']

/**
 * What a person should find among the events: that one of these turned, or is bad for another reason. What Ready is
 * told of now is not said twice.
 */
export function happeningsOf(previous: readonly Condition[], next: readonly Condition[]): Happening[] {
  const news = next.filter((each) => {
    const last = previous.find(({ type }) => type === each.type)
    return told.includes(each.type) && isNews(each, last)
  })
  const ready = news.find(({ type }) => type === 'Ready')
  return news
    .filter((each) => each === ready || each.status !== ready?.status || each.reason !== ready.reason)
    .map(({ type, status, reason, message }) => ({
      type: status === 'True' ? 'Normal' : 'Warning',
      reason,
      action: `Judge${type}`,
      note: `${type} is ${status}: ${message}`,
    }))
}

function isNews({ type, status, reason }: Condition, last: Condition | undefined): boolean {
  const hasTurned = last?.status !== status || (status === 'False' && last.reason !== reason)
  const isWorthIt = status !== 'Unknown' && (type === 'Ready' || last !== undefined || status === 'False')
  return hasTurned && isWorthIt
}
