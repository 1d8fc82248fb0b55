import { isDeepStrictEqual } from 'node:util'
import type { Condition } from '../api/condition.ts'

export interface Verdict {
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: string
  /** One sentence, the same for the same world. */
  readonly message: string
}

export type Verdicts<Type extends string> = Readonly<Record<Type, Verdict>>

export const longestMessage = 1024

/** The list as it is to be: the time of a transition moves only when the status does, so that nothing new says nothing new. */
export function conditionsOf(
  verdicts: Readonly<Record<string, Verdict>>,
  {
    previous,
    generation,
    now,
  }: { readonly previous: readonly Condition[]; readonly generation: number; readonly now: Date },
): Condition[] {
  return Object.entries(verdicts).map(([type, { status, reason, message }]) => {
    const last = previous.find((each) => each.type === type)
    return {
      type,
      status,
      observedGeneration: generation,
      lastTransitionTime: last?.status === status ? last.lastTransitionTime : formatTime(now),
      reason,
      message: shorten(message),
    }
  })
}

/** Ready sums up: the first of these that does not hold says why not; an unknown one is no worse than a false one. */
export function summarise(parts: readonly Verdict[], whenAll: Verdict): Verdict {
  return (
    parts.find(({ status }) => status === 'False') ?? parts.find(({ status }) => status !== 'True') ?? whenAll
  )
}

/** Whether two statuses say the same, however their fields are ordered. */
export function isSame(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(withoutUndefined(a), withoutUndefined(b))
}

/** As the API server keeps it: to the second. */
export function formatTime(time: Date): string {
  return time.toISOString().replace(/\.\d{3}Z$/, 'Z')
}

function shorten(message: string): string {
  return message.length <= longestMessage ? message : `${message.slice(0, longestMessage - 1)}…`
}

function withoutUndefined(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value))
}
