import { Readable } from 'node:stream'
import type { Observer } from '../observer.ts'
import type { UpstreamRoute } from '../routes.ts'
import { type Ask, createAuthority, type Pass } from './authority.ts'
import type { UpstreamAnswer, UpstreamRequest } from './client.ts'
import type { Connections, Purpose } from './connections.ts'
import { createDeadline, type Deadline } from './deadline.ts'
import { BusyError, UpstreamError } from './errors.ts'
import { type Followed, follow } from './follow.ts'
import { judge } from './judge.ts'
import type { UpstreamLimits } from './limits.ts'
import { persist } from './persist.ts'
import { createPlaces } from './places.ts'
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
  const blobs = createPlaces(limits.connections)

  /** One request of any kind, seen by the observer. */
  async function exchange(
    url: URL,
    { method, purpose }: { method: 'GET' | 'HEAD'; purpose: Purpose },
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Exchange> {
    const started = performance.now()
    const seen = (status: number | string) =>
      observer.upstreamRequest({ upstream: name, method, status, durationMs: performance.now() - started })
    try {
      const answer = await send(connections.dispatcherFor(url, purpose), {
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
      exchange(url, asking, { accept: 'application/json', ...withAuthorization(header) }, signal)
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

  async function request(
    request: UpstreamRequest,
    purpose: Purpose,
    deadline: Deadline,
  ): Promise<UpstreamAnswer> {
    const { repository, rangeStart, method } = request
    const start = resourceUrl(base, request)
    const retry = { left: 1 }
    const hop = (url: URL, header: string | undefined) =>
      exchange(url, { method, purpose }, headersOf(request, header), deadline.signal)
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
        isBlob: isBlob(request),
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

  /** Waits here and not for a connection, so that who waited in vain says nothing of the upstream. */
  async function blobPlace({ signal }: Deadline): Promise<() => void> {
    try {
      return await blobs.take(signal)
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.kind !== 'timeout') throw error
      throw new BusyError(`${name}: ${limits.connections} blobs of it are under way already`)
    }
  }

  return async (asked, deadline) => {
    if (asked.method === 'HEAD' || !isBlob(asked)) return request(asked, 'question', deadline)
    const leave = await blobPlace(deadline)
    try {
      const answer = await request(asked, 'blob', deadline)
      if (answer.found && !answer.body.closed) answer.body.once('close', leave)
      else leave()
      return answer
    } catch (error) {
      leave()
      throw error
    }
  }
}

const asking = { method: 'GET', purpose: 'question' } as const

function isBlob({ resource }: UpstreamRequest): boolean {
  return resource.startsWith('blobs/')
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
