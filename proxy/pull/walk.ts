import { OciError, type OciErrorKey } from '../oci/errors.ts'
import type { Eligible } from '../route-table.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { nameOf } from './health.ts'
import type { Story } from './pull.ts'
import { isNo, type No } from './questions.ts'
import { toOciError } from './trouble.ts'

export const coldWalkMs = 15_000
/** What one upstream may take of it while another could still be asked. */
const oneOfManyMs = 5_000
const longestTrail = 20

/**
 * Asks upstreams in order until one says yes. A no goes on to the next. Trouble goes on too when asked by digest, which
 * nobody can substitute, or where the failure policy ignores it; otherwise it ends the walk, so that nobody gets a
 * lower-priority image because a higher one was down. Throws OciError; `unknown` when every one of them said no.
 */
export async function walk<Candidate extends Eligible, T extends object>(
  candidates: readonly Candidate[],
  attempt: (candidate: Candidate, firstByteMs: number) => Promise<T | No>,
  {
    by,
    unknown,
    story,
    now,
  }: { by: 'tag' | 'digest'; unknown: OciErrorKey; story: Story; now: () => number },
): Promise<{ readonly candidate: Candidate; readonly found: T }> {
  const endsAt = now() + coldWalkMs
  const troubles: UpstreamError[] = []
  for (const [position, candidate] of candidates.entries()) {
    const leftMs = Math.ceil(endsAt - now())
    if (leftMs <= 0) {
      // whoever was not asked has not said no
      note(story, candidate, 'not asked: no time left')
      troubles.push(new UpstreamError('timeout', 'the walk took too long'))
      break
    }
    const firstByteMs = msOfOne(leftMs, position === candidates.length - 1)
    const found = await attempt(candidate, firstByteMs).catch(orTrouble)
    if (found instanceof UpstreamError) {
      note(story, candidate, describe(found))
      troubles.push(found)
      if (by === 'tag' && candidate.failurePolicy === 'Fail') break
    } else if (isNo(found)) note(story, candidate, String(found.no))
    else return { candidate, found }
  }
  throw troubles.length > 0 ? toOciError(troubles) : new OciError(unknown)
}

/** What of the time that is left one upstream gets. */
export function msOfOne(leftMs: number, isLast: boolean): number {
  return isLast ? leftMs : Math.min(leftMs, oneOfManyMs)
}

export function orTrouble(error: unknown): UpstreamError {
  if (error instanceof UpstreamError) return error
  throw error
}

/** Adds to the trail of the log line what this upstream said. */
export function note({ trail }: Story, { upstream }: Eligible, answer: string): void {
  if (trail.length < longestTrail) trail.push(`${nameOf(upstream)}: ${answer}`)
}

export function describe(error: UpstreamError): string {
  return error.status === undefined ? `${error.kind} (${error.message})` : `${error.kind} ${error.status}`
}
