import type { UpstreamRequest } from './client.ts'
import { UpstreamError } from './errors.ts'

/** What is asked for is below the repository, whatever an upstream's own `Link` made of `resource`. */
export function resourceUrl(base: URL, { repository, resource }: UpstreamRequest): URL {
  const registry = `${base.href.replace(/\/$/, '')}/v2/`
  if (repository === '' && resource === '') return new URL(registry)
  const prefix = `${registry}${repository}/`
  const url = URL.canParse(`${prefix}${resource}`) ? new URL(`${prefix}${resource}`) : undefined
  if (!url?.href.startsWith(prefix) || url.hash !== '') {
    throw new UpstreamError('blocked', `${base.hostname} is not asked for what is outside a repository`)
  }
  return url
}

/** What a request says beside its target. */
export function headersOf(
  { accept, rangeStart }: UpstreamRequest,
  authorization: string | undefined,
): Record<string, string> {
  return {
    ...(accept !== undefined && { accept }),
    ...(rangeStart !== undefined && { range: `bytes=${rangeStart}-` }),
    ...withAuthorization(authorization),
  }
}

export function withAuthorization(authorization: string | undefined): Record<string, string> {
  return authorization === undefined ? {} : { authorization }
}
