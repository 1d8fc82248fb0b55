import { createHash } from 'node:crypto'
import { longestDocument, type UpstreamRoute } from '../../proxy/routes.ts'
import { formatField } from '../api/parse.ts'
import type { Upstream, UpstreamStatus } from '../api/upstream.ts'
import type { UpstreamHealth } from '../delivery.ts'
import type { Seen } from '../observed.ts'
import type { Problem } from '../problem.ts'
import type { Verdict } from '../runtime/conditions.ts'
import { type CommonStatus, commonStatusOf, no, notAccepted, programmedOf, unknown, yes } from '../status.ts'
import { compileUpstream, type UpstreamDraft } from './compile.ts'
import type { Lookup } from './tls.ts'

/** Everything the decision depends on, read before it is made. */
export interface ObservedUpstream {
  readonly upstream: Seen<Upstream>
  /** Of its own namespace, and no other. */
  readonly lookup: Lookup
  /** What the proxies have now. */
  readonly previous: UpstreamRoute | undefined
  readonly health: UpstreamHealth | undefined
}

export interface UpstreamPlan {
  /** What the proxies are to have; undefined when nothing is known that they could have. */
  readonly route: UpstreamRoute | undefined
  readonly verdicts: {
    readonly Accepted: Verdict
    readonly ResolvedRefs: Verdict
    readonly CredentialsValid: Verdict
    readonly Reachable: Verdict
  }
  /** Why it cannot be asked for anything; undefined when it can. */
  readonly unusable: { readonly reason: string; readonly message: string } | undefined
}

export function planUpstream({ upstream, lookup, previous, health }: ObservedUpstream): UpstreamPlan {
  const { resource, problems } = upstream
  if (resource === undefined) {
    const message = problems.map((each) => `${formatField(each.path)}: ${each.message}`).join('; ')
    return refuse(no('InvalidSpec', message), previous && withoutSecrets(previous, message))
  }

  const compiled = compileUpstream(resource, lookup)
  if (compiled.route === undefined) {
    const found = compiled.problems.map(explain)
    const [first] = found
    const message = found.map((each) => each.message).join('; ')
    if (compiled.draft === undefined) {
      return refuse(no(first!.reason, message), previous && withoutSecrets(previous, message))
    }
    const { credentialsSecretRef, tls } = resource.spec
    const isAnonymous = credentialsSecretRef === undefined && tls?.clientCertificateSecretRef === undefined
    return unresolved(found, cachedOnly(compiled.draft, previous, message), isAnonymous)
  }

  const size = Buffer.byteLength(JSON.stringify(compiled.route))
  if (size > longestDocument - spare) {
    // not how much: of what is far too long not all is read
    const message = `what the proxies need of it is more than ${longestDocument - spare} bytes; use fewer certificates in caCertificateRef`
    return refuse(no('TooLarge', message), withoutSecrets(compiled.route, message))
  }
  return {
    route: compiled.route,
    verdicts: {
      Accepted: accepted,
      ResolvedRefs: yes('ResolvedRefs', 'every reference is there and can be used'),
      CredentialsValid: credentialsVerdict(compiled.route, health),
      Reachable: reachableVerdict(resource.spec.mode, health),
    },
    unusable: undefined,
  }
}

export function upstreamStatus(
  { upstream }: Pick<ObservedUpstream, 'upstream'>,
  { verdicts }: UpstreamPlan,
  programmed: Verdict,
  now: Date,
  counted?: UpstreamStatus['cache'],
): CommonStatus & Pick<UpstreamStatus, 'cache'> {
  const { Accepted, ResolvedRefs, Reachable, CredentialsValid } = verdicts
  const Programmed = programmedOf(Accepted, programmed)
  const { cache: before } = upstream.status as UpstreamStatus
  const isOther = (field: 'entries' | 'bytes') => (counted?.[field] ?? 0) !== (before?.[field] ?? 0)
  const isNew = isOther('entries') || isOther('bytes') // the time alone is no news, nor is nothing
  const cache = isNew ? (counted ?? before) : before
  const judged = { Accepted, ResolvedRefs, Programmed }
  return {
    ...commonStatusOf(upstream, { judged, more: { Reachable, CredentialsValid } }, now),
    ...(cache === undefined ? {} : { cache }),
  }
}

/** For the features and the revision beside a route. */
const spare = 1024

const accepted = yes('Accepted', 'the spec is valid')
const anonymous = yes('Anonymous', 'pulls are anonymous')
const notAsked = unknown('NotTried', 'nothing is asked of it while a reference cannot be used')
const cacheOnly = unknown('CacheOnly', 'mode is CacheOnly: nothing is asked of it')

function refuse(verdict: Verdict, route: UpstreamRoute | undefined): UpstreamPlan {
  const { reason, message } = verdict
  return {
    route,
    verdicts: {
      Accepted: verdict,
      ResolvedRefs: notAccepted,
      CredentialsValid: notAccepted,
      Reachable: notAccepted,
    },
    unusable: { reason, message },
  }
}

interface Found {
  readonly reason: string
  readonly message: string
  readonly isOfCredentials: boolean
}

function unresolved(found: readonly Found[], route: UpstreamRoute, isAnonymous: boolean): UpstreamPlan {
  const reason = found[0]!.reason
  const message = found.map((each) => each.message).join('; ')
  const blamed = found.find(({ isOfCredentials }) => isOfCredentials)
  const untried = isAnonymous
    ? anonymous
    : unknown('NotTried', 'they are not used while another reference cannot be')
  return {
    route,
    verdicts: {
      Accepted: accepted,
      ResolvedRefs: no(reason, `${message}; until that is mended only what is cached is served`),
      CredentialsValid: blamed === undefined ? untried : no(blamed.reason, blamed.message),
      Reachable: route.mode === 'CacheOnly' ? cacheOnly : notAsked,
    },
    unusable: { reason, message },
  }
}

/**
 * The route of one that must not be asked: its cache serves on under the id it had at this address, and no secret goes
 * along. Where it never had one its account is unknown, and its cache empty.
 */
function cachedOnly(
  draft: UpstreamDraft,
  previous: UpstreamRoute | undefined,
  problem: string,
): UpstreamRoute {
  const kept = previous?.url === draft.url ? previous : undefined
  const nameless = hash([draft.namespace, draft.name, draft.url])
  return { ...draft, id: kept?.id ?? nameless, origin: kept?.origin ?? nameless, problem: shorten(problem) }
}

function withoutSecrets(route: UpstreamRoute, problem: string): UpstreamRoute {
  const { credentials: _credentials, tls: _tls, ...rest } = route
  return { ...rest, problem: shorten(problem) }
}

function credentialsVerdict(route: UpstreamRoute, health: UpstreamHealth | undefined): Verdict {
  if (route.credentials === undefined && route.tls?.key === undefined) {
    return anonymous
  }
  return health?.credentialsValid ?? unknown('NotReported', 'no proxy has tried them yet')
}

function reachableVerdict(mode: UpstreamRoute['mode'], health: UpstreamHealth | undefined): Verdict {
  if (mode === 'CacheOnly') return cacheOnly
  return health?.reachable ?? unknown('NotReported', 'no proxy has asked it for anything yet')
}

const credentialTypes = 'kubernetes.io/dockerconfigjson or kubernetes.io/basic-auth'

/** In a cluster only some types of Secrets are read: of another type it is as if it were not there. */
function explain({ path, reason, message, missing }: Problem): Found {
  const isOfCredentials = path[1] === 'credentialsSecretRef' || path[2] === 'clientCertificateSecretRef'
  const types = path[1] === 'credentialsSecretRef' ? credentialTypes : 'kubernetes.io/tls'
  const said =
    missing?.kind === 'Secret'
      ? `there is no Secret ${missing.name} of type ${types} in this namespace`
      : message
  return { reason, message: said, isOfCredentials }
}

function shorten(text: string): string {
  return text.slice(0, 1024)
}

function hash(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex')
}
