import type { CacheCount, ProxyState, UpstreamWord } from '../../proxy/routes.ts'
import type { Delivered, UpstreamHealth, UsedDocument } from '../delivery.ts'
import { documentName } from '../documents.ts'
import type { Verdict } from '../runtime/conditions.ts'

/** One proxy as it was last seen. Without a state and without trouble it was not asked yet. */
export interface ProxyView {
  readonly state: ProxyState | undefined
  /** Why it cannot be asked now. */
  readonly trouble: string | undefined
}

/** What is said of a revision that every proxy has. It names the revision, so that a status says what it speaks of. */
export function servedBy(revision: string): Verdict {
  return {
    status: 'True',
    reason: 'Programmed',
    message: `every proxy that is ready serves it, as revision ${revision.slice(0, 12)}`,
  }
}

export interface Asked {
  readonly kind: Delivered
  readonly key: string
  readonly revision: string
}

/** Judges any number of documents by the same views: what is the same for all of them is looked at once. */
export function createJudge(views: readonly ProxyView[]): (asked: Asked) => Verdict {
  const states = readyStates(views)
  const [trouble] = views.flatMap((view) => view.trouble ?? []).toSorted()
  const isUnasked = views.some(({ state }) => state === undefined)

  return ({ kind, key, revision }) => {
    const behind = states.filter((state) => revisionsOf(state, kind)[key] !== revision)
    const refusing = refusalOf(behind, kind, key)
    if (refusing !== undefined) {
      const message = `a proxy cannot take it, and serves what it had before: ${refusing}`
      return { status: 'False', reason: 'NotTaken', message }
    }
    if (behind.length > 0) return pending
    if (trouble !== undefined) {
      return { status: 'Unknown', reason: 'ProxyUnreachable', message: `a proxy cannot be asked: ${trouble}` }
    }
    if (isUnasked) return notAsked
    return states.length === 0 ? noProxies : servedBy(revision)
  }
}

/** Of all that is said of it by proxies that can be asked; a word about another document counts for what it is worth. */
export function judgeHealth(words: readonly UpstreamWord[], used: UsedDocument): UpstreamHealth {
  const same = words.filter(({ id }) => id === used.id)
  return {
    reachable: reachable(same),
    credentialsValid: credentialsValid(same.filter(({ revision }) => revision === used.revision)),
  }
}

/** Of an index that several share one of them counts. */
export function sumCounts(counts: readonly CacheCount[] | undefined): CacheCount | undefined {
  const [first, ...others] = counts ?? []
  if (first === undefined) return undefined
  return others.reduce(
    (sum, { entries, bytes, observedTime }) => ({
      entries: sum.entries + entries,
      bytes: sum.bytes + bytes,
      observedTime: observedTime > sum.observedTime ? observedTime : sum.observedTime,
    }),
    first,
  )
}

export function wordsAbout(views: readonly ProxyView[], key: string): UpstreamWord[] {
  return views.flatMap(({ state, trouble }) => (trouble === undefined ? (state?.health[key] ?? []) : []))
}

/** Undefined while one of them has not counted yet: a part of a sum is none. */
export function countsOf(views: readonly ProxyView[], key: string): CacheCount[] | undefined {
  // a proxy that is asked at two addresses counts once
  const byProxy = new Map(views.map(({ state }) => [state?.proxy.id, state?.cache]))
  const caches = [...byProxy.values()]
  return caches.includes(undefined) ? undefined : caches.flatMap((cache) => cache?.[key] ?? [])
}

export const notAsked: Verdict = {
  status: 'Unknown',
  reason: 'NotAsked',
  message: 'the proxies have not been asked yet',
}
/** Without why: it changes while the endpoints stay unread, and each time every status would. */
export function proxiesUnknown(source: string): Verdict {
  const message = `it is not known which proxies there are: the ${source} cannot be read; the log of the operator says why`
  return { status: 'Unknown', reason: 'ProxiesUnknown', message }
}
const pending: Verdict = {
  status: 'False',
  reason: 'Pending',
  message: 'a proxy that is ready does not serve it yet',
}
const noProxies: Verdict = { status: 'False', reason: 'NoProxies', message: 'no proxy is ready' }

const reasons: Readonly<Record<string, string>> = {
  unavailable: 'Unavailable',
  timeout: 'Timeout',
  'rate-limited': 'RateLimited',
  'invalid-response': 'InvalidResponse',
  blocked: 'NotPermitted',
}

/** Why one of them cannot take the document. */
function refusalOf(states: readonly ProxyState[], kind: Delivered, key: string): string | undefined {
  const troubled = states.filter(({ problems }) => Object.keys(problems).length > 0)
  if (troubled.length === 0) return undefined
  const [namespace = '', name = ''] = key.split('/')
  const document = documentName({ kind, namespace, name })
  return troubled.flatMap(({ problems }) => problems[document] ?? []).toSorted()[0]
}

function readyStates(views: readonly ProxyView[]): ProxyState[] {
  return views.flatMap(({ state, trouble }) =>
    state !== undefined && trouble === undefined && state.isReady && !state.isDraining ? [state] : [],
  )
}

function revisionsOf(state: ProxyState, kind: Delivered): Readonly<Record<string, string>> {
  return kind === 'Upstream' ? state.upstreams : state.registries
}

function reachable(words: readonly UpstreamWord[]): Verdict | undefined {
  if (words.length === 0) return undefined
  const troubles = words.flatMap(({ trouble }) => trouble ?? [])
  const [first] = troubles.toSorted((a, b) => (`${a.kind} ${a.message}` < `${b.kind} ${b.message}` ? -1 : 1))
  if (first === undefined) return { status: 'True', reason: 'Reachable', message: 'it answers the proxies' }
  const others = troubles.length < words.length ? '; it answers other proxies' : ''
  return {
    status: 'False',
    reason: reasons[first.kind] ?? 'Unavailable',
    message: `the proxies met with trouble when they last asked it: ${first.message}${others}`,
  }
}

function credentialsValid(words: readonly UpstreamWord[]): Verdict | undefined {
  if (words.length === 0) return undefined
  const [refusal] = words.flatMap(({ refused }) => refused ?? []).toSorted()
  if (refusal !== undefined) return { status: 'False', reason: 'CredentialsRefused', message: refusal }
  // nothing was said of them where it could not be reached
  if (words.every(({ trouble }) => trouble !== undefined)) return undefined
  return { status: 'True', reason: 'NotRefused', message: 'the registry does not refuse them' }
}
