import { Readable } from 'node:stream'
import type { Observer } from '../observer.ts'
import type { UpstreamRoute } from '../routes.ts'
import { type Ask, createAuthority, type Pass } from './authority.ts'
import type { UpstreamAnswer, UpstreamRequest } from './client.ts'
import type { Connections } from './connections.ts'
import { createDeadline, type Deadline } from './deadline.ts'
import { type Followed, follow } from './follow.ts'
import { judge } from './judge.ts'
import type { UpstreamLimits } from './limits.ts'
import { persist } from './persist.ts'
import { headersOf, resourceUrl, withAuthorization } from './request-target.ts'
import { readHeaders } from './response-headers.ts'
import { discard, type Exchange, send } from './send.ts'
import { toUpstreamError } from './transport-error.ts'

/** Asks this one upstream, within the deadline, which it does not release. */
export type AskUpstream = (request: UpstreamRequest, deadline: Deadline) => Promise<UpstreamAnswer>

export function createOneUpstream({
  upstream,
  connections,
  observer,
  limits,
  version,
  now,
  random,
}: {
  upstream: UpstreamRoute
  connections: Connections
  observer: Observer
  limits: UpstreamLimits
  version: string
  now: () => number
  random: () => number
}): AskUpstream {
  const name = `${upstream.namespace}/${upstream.name}`
  const base = new URL(upstream.url)
  const authority = createAuthority({ upstream, base, ask, now })

  /** One request of any kind, seen by the observer. */
  async function exchange(
    url: URL,
    method: 'GET' | 'HEAD',
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Exchange> {
    const started = performance.now()
    const seen = (status: number | string) =>
      observer.upstreamRequest({ upstream: name, method, status, durationMs: performance.now() - started })
    try {
      const answer = await send(connections.dispatcherFor(url), {
        url,
        method,
        headers: { 'user-agent': `headwater/${version}`, 'accept-encoding': 'identity', ...headers },
        signal,
        slowest: limits.slowest,
        onBytes: (bytes) => observer.upstreamBytes(name, bytes),
      })
      seen(answer.status)
      return answer
    } catch (error) {
      const trouble = toUpstreamError(error, url.hostname)
      seen(trouble.kind)
      throw trouble
    }
  }

  async function ask(...[start, authorization, check]: Parameters<Ask>): Promise<Followed> {
    const deadline = createDeadline(`asking ${start.hostname} who we are`, limits.tokenMs, undefined)
    const { signal } = deadline
    const hop = (url: URL, header: string | undefined) =>
      exchange(url, 'GET', { accept: 'application/json', ...withAuthorization(header) }, signal)
    try {
      const run = () => follow({ start, authorization, check, exchange: hop })
      const followed = await persist(run, { retry: { left: 1 }, deadline, random })
      followed.exchange.body.once('close', deadline.release)
      return followed
    } catch (error) {
      deadline.release()
      throw error
    }
  }

  return async (request, deadline) => {
    const { repository, rangeStart, resource, method } = request
    const start = resourceUrl(base, request)
    const retry = { left: 1 }
    const hop = (url: URL, header: string | undefined) =>
      exchange(url, method, headersOf(request, header), deadline.signal)
    const attempt = async ({ authorization }: Pass) => {
      const run = () => follow({ start, authorization, exchange: hop })
      const followed = await persist(run, { retry, deadline, random })
      if (followed.exchange.status >= 300) discard(followed.exchange.body)
      return followed
    }

    let pass = await authority.first(repository, deadline)
    if ('refused' in pass) return { found: false, status: pass.refused }
    let followed = await attempt(pass)
    const second = await authority.second(pass, followed, repository, deadline)
    if (second && 'refused' in second) return { found: false, status: second.refused }
    if (second) {
      pass = second
      followed = await attempt(pass)
    }
    await authority.confirm(pass, followed, deadline)
    try {
      const verdict = judge(followed, {
        method,
        rangeStart,
        isBlob: resource.startsWith('blobs/'),
        now: now(),
      })
      return verdict === 'yes'
        ? toYes(followed, request, deadline)
        : { found: false, status: followed.exchange.status }
    } catch (error) {
      followed.exchange.body.destroy()
      throw error
    }
  }
}

function toYes(
  { exchange, url }: Followed,
  { method, rangeStart }: UpstreamRequest,
  deadline: Deadline,
): UpstreamAnswer {
  const { body } = exchange
  const status = exchange.status === 206 ? 206 : 200
  const headers = readHeaders(exchange.headers, { status, method, rangeStart, host: url.hostname })
  if (method === 'GET') {
    deadline.metIf(exchange.hasBegun)
    return { found: true, status, headers, body }
  }
  discard(body)
  return { found: true, status, headers, body: Readable.from([]) }
}
