import type { Readable } from 'node:stream'
import type { Challenge } from './challenge.ts'
import { UpstreamError } from './errors.ts'
import type { Followed } from './follow.ts'
import { judge } from './judge.ts'
import { discard } from './send.ts'

/** What a Bearer challenge asks a token for. */
export interface TokenRequest {
  /** Checked by the realm policy. */
  readonly realm: URL
  readonly service: string | undefined
  /** Undefined asks only whether the credentials are good. */
  readonly scope: string | undefined
}

export interface Grant {
  readonly token: string
  readonly lifetimeSeconds: number
  readonly refused?: undefined
}

/** `refused` is the status of the refusal. */
export type TokenAnswer = Grant | { readonly refused: number }

const longestResponse = 64 * 1024
const longestScope = 4096
const defaultSeconds = 60
const longestSeconds = 3600

/** The scope of the challenge, or what it must have meant. */
export function tokenRequestOf({ parameters }: Challenge, realm: URL, repository: string): TokenRequest {
  const scope = parameters.get('scope')
  return {
    realm,
    service: parameters.get('service'),
    scope: scope === undefined || scope.length > longestScope ? scopeOf(repository) : scope,
  }
}

function scopeOf(repository: string): string | undefined {
  return repository === '' ? undefined : `repository:${repository}:pull`
}

export function urlOf({ realm, service, scope }: TokenRequest): URL {
  const url = new URL(realm)
  url.hash = ''
  if (service !== undefined) url.searchParams.set('service', service)
  if (scope !== undefined) url.searchParams.set('scope', scope)
  return url
}

/**
 * Reads what a token service said (https://distribution.github.io/distribution/spec/auth/token/). Refusals are given
 * back, whatever they mean; trouble is thrown as UpstreamError.
 */
export async function readTokenAnswer(followed: Followed, now: number): Promise<TokenAnswer> {
  const { exchange, url } = followed
  if (judgeToken(followed, now) === 'no') {
    discard(exchange.body)
    return { refused: exchange.status }
  }
  const parsed = parseJson(await readText(exchange.body, url.hostname))
  const token = [parsed?.token, parsed?.access_token].find(isToken)
  if (token === undefined) throw new UpstreamError('invalid-response', `${url.hostname} gave no token`)
  return { token, lifetimeSeconds: lifetimeOf(parsed?.expires_in) }
}

function judgeToken(followed: Followed, now: number): 'yes' | 'no' {
  try {
    return judge({ ...followed, left: false }, { method: 'GET', rangeStart: undefined, isBlob: false, now })
  } catch (error) {
    discard(followed.exchange.body)
    throw error
  }
}

/** Absent, zero, negative or not a number: the specification's default, which is also its shortest. */
function lifetimeOf(value: unknown): number {
  const seconds = typeof value === 'number' && Number.isFinite(value) ? value : defaultSeconds
  return Math.min(longestSeconds, Math.max(defaultSeconds, seconds))
}

function isToken(value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7e]+$/.test(value)
}

function parseJson(text: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

async function readText(body: Readable, host: string): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > longestResponse)
      throw new UpstreamError('invalid-response', `${host} gave a token without end`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
