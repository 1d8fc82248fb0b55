import type { Grant, TokenAnswer, TokenRequest } from './token-exchange.ts'

/** The tokens of one upstream. */
export interface Tokens {
  /** One that is good for a while yet; never asks anybody. */
  peek(request: TokenRequest): string | undefined
  /**
   * A token other than `refusedToken`, which the upstream no longer takes. Any number of callers share one exchange,
   * and its failure; a failure is not kept.
   */
  get(request: TokenRequest, refusedToken?: string): Promise<TokenAnswer>
}

const mostTokens = 1000
const earliestSeconds = 30

/** `now` is in milliseconds. `exchange` has its own limit of time: it is nobody's alone. */
export function createTokens({
  exchange,
  now,
}: {
  exchange: (request: TokenRequest) => Promise<TokenAnswer>
  now: () => number
}): Tokens {
  const tokens = new Map<string, { grant: Grant; until: number }>()
  const running = new Map<string, Promise<TokenAnswer>>()

  function good(key: string): Grant | undefined {
    const known = tokens.get(key)
    if (known && known.until > now()) return known.grant
    tokens.delete(key)
    return undefined
  }

  function keep(key: string, grant: Grant): void {
    const [oldest] = tokens.keys()
    if (tokens.size >= mostTokens && oldest !== undefined) tokens.delete(oldest)
    const early = Math.min(earliestSeconds, grant.lifetimeSeconds / 6)
    tokens.set(key, { grant, until: now() + 1000 * (grant.lifetimeSeconds - early) })
  }

  async function renew(key: string, request: TokenRequest): Promise<TokenAnswer> {
    const answer = await exchange(request)
    if (answer.refused === undefined) keep(key, answer)
    return answer
  }

  return {
    peek: (request) => good(keyOf(request))?.token,

    get(request, refusedToken) {
      const key = keyOf(request)
      const known = good(key)
      if (known && known.token !== refusedToken) return Promise.resolve(known)
      tokens.delete(key)
      const started = running.get(key) ?? renew(key, request).finally(() => running.delete(key))
      running.set(key, started)
      return started
    },
  }
}

function keyOf({ realm, service, scope }: TokenRequest): string {
  return JSON.stringify([realm.href, service, scope])
}
