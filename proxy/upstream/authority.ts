import type { UpstreamRoute } from '../routes.ts'
import { type Challenge, parseChallenges } from './challenge.ts'
import { type Deadline, orAborted } from './deadline.ts'
import { UpstreamError } from './errors.ts'
import type { Followed } from './follow.ts'
import { judge } from './judge.ts'
import { allowedRealm } from './realm-policy.ts'
import { discard } from './send.ts'
import {
  readTokenAnswer,
  type TokenAnswer,
  type TokenRequest,
  tokenRequestOf,
  urlOf,
} from './token-exchange.ts'
import { createTokens } from './tokens.ts'

/** What one attempt goes out with. */
export type Pass =
  | { readonly kind: 'none'; readonly authorization: undefined }
  | { readonly kind: 'basic'; readonly authorization: string }
  | {
      readonly kind: 'token'
      readonly authorization: string
      readonly token: string
      readonly request: TokenRequest
      /** From the cache: it may have been revoked since. */
      readonly reused: boolean
    }

/** The status of a token service's definite no. */
export interface Refusal {
  readonly refused: number
}

/** Who we are at one upstream. Everything here throws UpstreamError for trouble. */
export interface Authority {
  /** For a first attempt: what this repository was known to want, without provoking a 401. */
  first(repository: string, deadline: Deadline): Promise<Pass | Refusal>
  /** For a second and last attempt, after this answer to the first; undefined when the answer stands. */
  second(
    used: Pass,
    answer: Followed,
    repository: string,
    deadline: Deadline,
  ): Promise<Pass | Refusal | undefined>
  /** Throws when the answer says that the credentials themselves are not accepted. */
  confirm(used: Pass, answer: Followed, deadline: Deadline): Promise<void>
}

/** Asks for a token or for `/v2/`, following redirects that `check` lets pass. */
export type Ask = (
  url: URL,
  authorization: string | undefined,
  check: (url: URL) => void,
) => Promise<Followed>

const anonymous: Pass = { kind: 'none', authorization: undefined }
const mostKnown = 1000
const rememberedMs = 60_000

/** `now` is wall time in milliseconds. `ask` has its own limit of time, since many may wait for one question. */
export function createAuthority({
  upstream,
  base,
  ask,
  now,
}: {
  upstream: Pick<UpstreamRoute, 'credentials' | 'tokenServiceHosts'>
  base: URL
  ask: Ask
  now: () => number
}): Authority {
  const { credentials, tokenServiceHosts } = upstream
  const basic = credentials && `Basic ${base64(`${credentials.username}:${credentials.password}`)}`
  const wanted = new Map<string, TokenRequest>()
  const tokens = createTokens({ exchange, now })
  let wantsBasic = false
  let accepted: { answer: Promise<boolean>; until: number } | undefined

  const realmOf = (realm: string) => allowedRealm(realm, { base, tokenServiceHosts })
  const checkRealm = (url: URL) => {
    if (!realmOf(url.href)) throw forbiddenRealm(url.href)
  }

  async function exchange(request: TokenRequest): Promise<TokenAnswer> {
    const answer = await readTokenAnswer(await ask(urlOf(request), basic, checkRealm), now())
    if (answer.refused === 401 && basic) throw credentialsRefused(request.realm, 401)
    if (answer.refused === 403 && basic && request.scope !== undefined) {
      const good = await areAccepted(async () => {
        const url = urlOf({ ...request, scope: undefined })
        return (await readTokenAnswer(await ask(url, basic, checkRealm), now())).refused
      })
      if (!good) throw credentialsRefused(request.realm, 403)
    }
    return answer
  }

  /** Asked without a scope, and remembered for a minute: 403 is also how some say "expired". */
  function areAccepted(probe: () => Promise<number | undefined>): Promise<boolean> {
    if (accepted && accepted.until > now()) return accepted.answer
    const answer = probe().then((status) => status !== 401 && status !== 403)
    const remembered = { answer, until: now() + rememberedMs }
    accepted = remembered
    answer.catch(() => {
      if (accepted === remembered) accepted = undefined
    })
    return answer
  }

  async function passFor(request: TokenRequest, repository: string, deadline: Deadline, old?: string) {
    const [oldest] = wanted.keys()
    if (wanted.size >= mostKnown && oldest !== undefined) wanted.delete(oldest)
    wanted.set(repository, request)
    try {
      const answer = await orAborted(tokens.get(request, old), deadline.signal)
      if (answer.refused === undefined) return tokenPass(request, answer.token, false)
      wanted.delete(repository)
      return answer
    } catch (error) {
      wanted.delete(repository)
      throw error
    }
  }

  async function confirm(used: Pass, { exchange: { status }, left }: Followed, deadline: Deadline) {
    if (used.kind !== 'basic' || left) return
    if (status === 401) throw credentialsRefused(base, status)
    if (status !== 403) return
    const probe = async () => {
      const followed = await ask(new URL(`${base.href.replace(/\/$/, '')}/v2/`), used.authorization, () => {})
      discard(followed.exchange.body)
      judge(followed, { method: 'GET', rangeStart: undefined, isBlob: false, now: now() })
      return followed.exchange.status
    }
    if (!(await orAborted(areAccepted(probe), deadline.signal))) throw credentialsRefused(base, status)
  }

  /** Only a token that was not had just now can have expired, or have been revoked. */
  async function renewed(used: Pass, repository: string, deadline: Deadline) {
    if (used.kind !== 'token' || !used.reused) return undefined
    return passFor(used.request, repository, deadline, used.token)
  }

  async function challenged(
    used: Pass,
    challenges: readonly Challenge[],
    repository: string,
    deadline: Deadline,
  ): Promise<Pass | Refusal | undefined> {
    const request = bearerOf(challenges, repository)
    if (request) {
      const isSame = used.kind === 'token' && urlOf(used.request).href === urlOf(request).href
      return isSame ? renewed(used, repository, deadline) : passFor(request, repository, deadline)
    }
    if (basic && used.kind !== 'basic' && offersBasic(challenges)) {
      wantsBasic = true
      return { kind: 'basic', authorization: basic }
    }
    return renewed(used, repository, deadline)
  }

  return {
    async first(repository, deadline) {
      const request = wanted.get(repository)
      if (!request) return wantsBasic && basic ? { kind: 'basic', authorization: basic } : anonymous
      const token = tokens.peek(request)
      return token === undefined ? passFor(request, repository, deadline) : tokenPass(request, token, true)
    },

    async second(used, { exchange: { status, headers }, left }, repository, deadline) {
      if (left) return undefined
      if (status === 401) {
        const challenges = parseChallenges(headers.get('www-authenticate') ?? [])
        return challenged(used, challenges, repository, deadline)
      }
      return status === 400 || status === 403 ? renewed(used, repository, deadline) : undefined
    },

    confirm,
  }

  /** The first Bearer challenge with a realm to go to; throws when there are only others and no Basic to use instead. */
  function bearerOf(challenges: readonly Challenge[], repository: string): TokenRequest | undefined {
    let refusedRealm: string | undefined
    for (const challenge of challenges) {
      const realm = challenge.scheme === 'bearer' ? challenge.parameters.get('realm') : undefined
      if (realm === undefined) continue
      const url = realmOf(realm)
      if (url) return tokenRequestOf(challenge, url, repository)
      refusedRealm ??= realm
    }
    if (refusedRealm !== undefined && !(basic && offersBasic(challenges))) throw forbiddenRealm(refusedRealm)
    return undefined
  }

  function forbiddenRealm(realm: string): UpstreamError {
    const host = URL.canParse(realm) ? new URL(realm).host : 'nowhere'
    return new UpstreamError(
      'blocked',
      `${base.hostname} sends to ${host} for a token, which is not permitted: not https, or neither its own domain nor in tokenServiceHosts`,
    )
  }
}

function tokenPass(request: TokenRequest, token: string, reused: boolean): Pass {
  return { kind: 'token', authorization: `Bearer ${token}`, token, request, reused }
}

function credentialsRefused({ hostname }: URL, status: number): UpstreamError {
  return new UpstreamError('credentials-refused', `${hostname} does not accept the credentials`, { status })
}

function offersBasic(challenges: readonly Challenge[]): boolean {
  return challenges.some(({ scheme }) => scheme === 'basic')
}

function base64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64')
}
