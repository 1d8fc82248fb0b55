import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { type HeldLease, type Lease, type Leases, leaseTtlMs } from '../store/leases.ts'
import { UpstreamError, type UpstreamErrorKind } from '../upstream/errors.ts'

/** Something to ask, and how its answer goes from one replica to another. */
export interface Question<T> {
  ask(): Promise<T>
  /** Undefined for what is not to be passed on: those who wait then ask by themselves. */
  write(answer: T): string | undefined
  /** Undefined for what is not such an answer. */
  read(text: string): T | undefined
  /** Told of the trouble of another replica, which is ours then too. */
  heard?(trouble: UpstreamError): void
}

/** Asks, or has the answer of another replica that is asking the same now; its trouble too. */
export type FleetFlight = <T>(key: string, withinMs: number, question: Question<T>) => Promise<T>

export const alone: FleetFlight = (_key, _withinMs, { ask }) => ask()

const renewEachMs = 700
/** Of a lease that has so little left, a renewal is overdue by more than a second. */
const missedLeftMs = leaseTtlMs - renewEachMs - 1_100
const lookEachMs = 50
/** An answer this old is as good as one of one's own; after that the next one asks anew. */
const goodMs = 250

/**
 * One question at a time for all replicas, by a lease that in the end holds the answer. Where leases cannot be had, or
 * what is told cannot be believed, everybody asks by himself: an answer is at most asked for too often.
 */
export function createFleetFlight(leases: Leases): FleetFlight {
  return async (key, withinMs, question) => {
    const ours: Lease = { token: randomUUID(), url: '' }
    const agreed = await agree(key, ours, withinMs).catch(() => 'alone' as const)
    if (agreed === 'alone') return question.ask()
    if (agreed === 'ours') return lead(key, ours, question)
    return believe(agreed.word, question)
  }

  async function agree(
    key: string,
    ours: Lease,
    withinMs: number,
  ): Promise<'alone' | 'ours' | { readonly word: string }> {
    const until = performance.now() + withinMs
    let instead: string | undefined
    while (performance.now() < until) {
      const claim = await leases.claim(key, ours, instead)
      if (claim.isOurs) return 'ours'
      const seen = await follow(key, claim, until)
      if ('word' in seen) return seen
      instead = seen.gone
    }
    return 'alone'
  }

  async function lead<T>(key: string, ours: Lease, question: Question<T>): Promise<T> {
    const renewing = setInterval(() => void leases.renew(key, ours).catch(() => {}), renewEachMs)
    renewing.unref()
    let word: Word = {}
    try {
      const answer = await question.ask()
      word = { answer: question.write(answer) }
      return answer
    } catch (error) {
      word = wordOf(error)
      throw error
    } finally {
      clearInterval(renewing)
      leases.renew(key, { ...ours, word: JSON.stringify(word) }).catch(() => {})
    }
  }

  /** What the one who asks comes to; or whose lease may be taken, if anybody's. */
  async function follow(
    key: string,
    claim: HeldLease,
    until: number,
  ): Promise<{ readonly word: string } | { readonly gone: string | undefined }> {
    let held: HeldLease | undefined = claim
    while (held && performance.now() < until) {
      const { lease, leftMs }: HeldLease = held
      if (lease.word !== undefined && leaseTtlMs - leftMs <= goodMs) return { word: lease.word }
      if (lease.word !== undefined || leftMs < missedLeftMs) return { gone: lease.token }
      await pause(lookEachMs)
      held = await leases.look(key)
    }
    return { gone: undefined }
  }
}

/** What an asking came to, as it lies in the lease. Empty for what is not passed on. */
interface Word {
  readonly answer?: string | undefined
  readonly trouble?: Trouble
}

interface Trouble {
  readonly kind: UpstreamErrorKind
  readonly message: string
  readonly status?: number | undefined
  readonly retryAfterSeconds?: number | undefined
}

const kinds: readonly UpstreamErrorKind[] = ['unavailable', 'timeout', 'rate-limited', 'invalid-response']

/** What is in the way of this replica alone is not passed on: its credentials may be older, its rules others. */
function wordOf(error: unknown): Word {
  if (!(error instanceof UpstreamError) || !kinds.includes(error.kind)) return {}
  const { kind, message, status, retryAfterSeconds } = error
  return { trouble: { kind, message: message.slice(0, 300), status, retryAfterSeconds } }
}

async function believe<T>(text: string, question: Question<T>): Promise<T> {
  const { answer, trouble } = parseWord(text)
  if (trouble) {
    const { kind, message, status, retryAfterSeconds } = trouble
    const heard = new UpstreamError(kind, message, {
      ...(status !== undefined && { status }),
      retryAfterSeconds,
    })
    question.heard?.(heard)
    throw heard
  }
  return (answer === undefined ? undefined : question.read(answer)) ?? (await question.ask())
}

function parseWord(text: string): Word {
  try {
    const { answer, trouble } = JSON.parse(text) as Word
    if (typeof answer === 'string') return { answer }
    return trouble && kinds.includes(trouble.kind) ? { trouble } : {}
  } catch {
    return {}
  }
}
