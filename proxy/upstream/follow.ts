import { UpstreamError } from './errors.ts'
import { discard, type Exchange } from './send.ts'

/** The end of a chain of redirects. */
export interface Followed {
  readonly exchange: Exchange
  readonly url: URL
  /** Whether it passed through another origin: then what it says is not the word of whoever was asked. */
  readonly left: boolean
}

export interface Following {
  readonly start: URL
  /** Sent to the origin of `start` alone, and no more once another origin was visited: from there on others choose the path. */
  readonly authorization: string | undefined
  readonly exchange: (url: URL, authorization: string | undefined) => Promise<Exchange>
  /** Throws UpstreamError for a place not to go to. */
  readonly check?: (url: URL) => void
}

const mostRedirects = 5
const longestLocation = 8192
const redirects = new Set([301, 302, 303, 307, 308])

/** GET and HEAD only, so that every kind of redirect keeps the method. */
export async function follow({ start, authorization, exchange, check }: Following): Promise<Followed> {
  let url = start
  let left = false
  for (let hop = 0; ; hop++) {
    left ||= url.origin !== start.origin
    const answer = await exchange(url, left ? undefined : authorization)
    if (!redirects.has(answer.status)) return { exchange: answer, url, left }
    discard(answer.body)
    if (hop === mostRedirects) throw refused(url, 'redirects too often')
    url = nextHop(url, answer.headers.get('location') ?? [])
    check?.(url)
  }
}

function nextHop(from: URL, locations: readonly string[]): URL {
  const [location = ''] = locations
  const readable = location.length <= longestLocation && URL.canParse(location, from.href)
  if (locations.length !== 1 || location === '' || !readable) throw refused(from, 'redirects to nowhere')
  const to = new URL(location, from)
  if (to.protocol !== 'https:' && to.protocol !== 'http:') throw refused(from, 'redirects out of HTTP')
  if (to.protocol === 'http:' && from.protocol === 'https:') throw refused(from, 'redirects out of TLS')
  if (to.username !== '' || to.password !== '') throw refused(from, 'redirects with a name and a password')
  to.hash = ''
  return to
}

function refused(from: URL, what: string): UpstreamError {
  return new UpstreamError('invalid-response', `${from.hostname} ${what}`)
}
