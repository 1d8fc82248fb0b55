import { setTimeout as sleepFor } from 'node:timers/promises'
import type { CoordinationV1Api, V1Lease } from '@kubernetes/client-node'
import { call } from './call.ts'
import { createFailureTeller } from './failure-teller.ts'

/** On the Lease: which namespaces its holder watches, and whether it has seen that nobody else does. */
const annotations = {
  namespaces: 'headwater.dev/watched-namespaces',
  state: 'headwater.dev/watching',
} as const
const all = '*'

/** The Lease of an installation, as far as it says who watches what. */
export interface Claim {
  /** Of the installation: each has a namespace of its own. */
  readonly namespace: string
  readonly uid: string
  /** Sortable as text, by the clock of the API server. */
  readonly creationTimestamp: string
  readonly version: string
  /** Empty when nobody holds it. */
  readonly holder: string
  /** Empty for all. */
  readonly watched: readonly string[]
  /** A claim that is not settled yet is of one that still looks whether there are others. */
  readonly isSettled: boolean
}

/** `fresh`: seen for the first time, so that it may be of a process that died. */
export type Liveness = 'fresh' | 'alive' | 'dead'

/**
 * Whether one may begin. Whoever has settled stays; of two that look at the same time the elder installation goes first.
 * Each writes its claim before it reads those of others, so at least one of two sees the other.
 */
export function judgeClaims(
  own: Pick<Claim, 'uid' | 'creationTimestamp' | 'watched'>,
  others: readonly { readonly claim: Claim; readonly liveness: Liveness }[],
): Verdict {
  const rivals = others.filter(
    ({ claim, liveness }) =>
      claim.holder !== '' && liveness !== 'dead' && overlaps(own.watched, claim.watched),
  )
  const winner = rivals.find(
    ({ claim, liveness }) => liveness === 'alive' && (claim.isSettled || isElder(claim, own)),
  )
  if (winner !== undefined) return { do: 'stop', because: winner.claim }
  const [first] = rivals
  return first === undefined ? { do: 'go' } : { do: 'wait', because: first.claim }
}

type Verdict =
  | { readonly do: 'go' }
  | { readonly do: 'stop'; readonly because: Claim }
  /** Without a claim: our own is not there. */
  | { readonly do: 'wait'; readonly because: Claim | undefined }

export function overlaps(a: readonly string[], b: readonly string[]): boolean {
  return a.length === 0 || b.length === 0 || a.some((namespace) => b.includes(namespace))
}

function isElder(
  a: Pick<Claim, 'uid' | 'creationTimestamp'>,
  b: Pick<Claim, 'uid' | 'creationTimestamp'>,
): boolean {
  const [one, other] = [`${a.creationTimestamp} ${a.uid}`, `${b.creationTimestamp} ${b.uid}`]
  return one < other
}

/** Undefined for a Lease that says nothing of namespaces. */
export function readClaim({ metadata = {}, spec }: V1Lease): Claim | undefined {
  const namespaces = metadata.annotations?.[annotations.namespaces]
  if (namespaces === undefined) return undefined
  return {
    namespace: String(metadata.namespace),
    uid: String(metadata.uid),
    creationTimestamp: metadata.creationTimestamp?.toISOString() ?? '',
    version: String(metadata.resourceVersion),
    holder: spec?.holderIdentity ?? '',
    watched: namespaces === all ? [] : namespaces.split(','),
    isSettled: metadata.annotations?.[annotations.state] === 'settled',
  }
}

export interface OperatorScope {
  /** For the Lease, whenever it is written. */
  annotations(): Readonly<Record<string, string>>
  /**
   * For who holds the Lease: resolves once it is known that nobody else watches one of the namespaces, or with who does.
   * Undefined, too, when the signal was aborted.
   */
  settle(signal: AbortSignal): Promise<Claim | undefined>
}

export interface OperatorScopeOptions {
  /** All Leases of this name, in any namespace. */
  list(): Promise<readonly V1Lease[]>
  readonly namespace: string
  /** Empty for all. */
  readonly watched: readonly string[]
  /** How long a Lease that does not change may be held. */
  readonly leaseMs?: number
  readonly now?: () => number
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>
  /** Told of the first installation that may watch the same, and once for each reason why the Leases cannot be read. */
  onWait?(namespace: string): void
  onFailure?(error: unknown): void
}

const pauseMs = 1000

export function createOperatorScope({
  list,
  namespace,
  watched,
  leaseMs = 15_000,
  now = () => performance.now(),
  sleep = sleepQuietly,
  onWait = () => {},
  onFailure = () => {},
}: OperatorScopeOptions): OperatorScope {
  /** When which version of whose Lease was seen first, by our own clock: those of machines differ. */
  const seen = new Map<
    string,
    { readonly version: string; readonly at: number; readonly isRenewed: boolean }
  >()
  let isSettled = false
  const failures = createFailureTeller(onFailure)

  function livenessOf({ uid, version }: Claim): Liveness {
    const before = seen.get(uid)
    if (before?.version === version) {
      if (now() - before.at >= leaseMs) return 'dead'
      return before.isRenewed ? 'alive' : 'fresh'
    }
    if (before === undefined) seen.set(uid, { version, at: now(), isRenewed: false })
    else seen.set(uid, { version, at: now(), isRenewed: true })
    return before === undefined ? 'fresh' : 'alive'
  }

  async function look(): Promise<Verdict> {
    const claims = (await list()).flatMap((lease) => readClaim(lease) ?? [])
    const own = claims.find((claim) => claim.namespace === namespace)
    if (own === undefined) return { do: 'wait', because: undefined }
    const others = claims.filter((claim) => claim !== own)
    return judgeClaims(
      { ...own, watched },
      others.map((claim) => ({ claim, liveness: livenessOf(claim) })),
    )
  }

  return {
    annotations: () => ({
      [annotations.namespaces]: watched.length === 0 ? all : watched.toSorted().join(','),
      [annotations.state]: isSettled ? 'settled' : 'looking',
    }),
    async settle(signal) {
      let waitsFor: string | undefined
      for (; !signal.aborted; await sleep(pauseMs, signal)) {
        try {
          const verdict = await look()
          if (verdict.do === 'stop') return verdict.because
          if (verdict.do === 'go') {
            isSettled = true
            return undefined
          }
          if (waitsFor === undefined && verdict.because !== undefined) onWait(verdict.because.namespace)
          waitsFor ??= verdict.because?.namespace
        } catch (error) {
          failures.failed(error)
        }
      }
      return undefined
    },
  }
}

/** With a right to list Leases of this one name alone. */
export function leaseLister(api: CoordinationV1Api, name: string): () => Promise<readonly V1Lease[]> {
  return async () => {
    const { items } = await call(() =>
      api.listLeaseForAllNamespaces({ fieldSelector: `metadata.name=${name}` }),
    )
    return items
  }
}

async function sleepQuietly(ms: number, signal: AbortSignal): Promise<void> {
  await sleepFor(ms, undefined, { signal }).catch(() => {})
}
