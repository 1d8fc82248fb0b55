import { OciError } from '../oci/errors.ts'
import type { Eligible } from '../route-table.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { eligibleOf, tell } from './manifests.ts'
import type { ListAnswer, Pull, PullRequest } from './pull.ts'
import { isNo, type Questions } from './questions.ts'
import { walk } from './walk.ts'

/** More is cut to this, and pages follow: refusing it breaks update bots. */
const longestPage = 10_000
const longestTag = 128
/** Names the upstream that the first page came from, by the beginning of its id. */
const upstreamParameter = 'headwater-upstream'
const markLength = 16

/** Lists tags as the first upstream that knows the repository does: never cached, since update bots ask for news. */
export function createTagLists({
  questions,
  monotonicNow,
}: {
  questions: Questions
  monotonicNow: () => number
}): Pick<Pull, 'tags'> {
  return {
    async tags(request) {
      const { name, query, story } = request
      const asked = pageOf(query)
      const mark = query.get(upstreamParameter)
      const candidates = candidatesOf(request, mark)
      const resource = `tags/list${formatQuery(mark === null ? firstPage(asked, query) : laterPage(asked, query))}`

      const { candidate, found } = await walk(
        candidates,
        async (place, ms) => {
          const list = await questions.getList(place, resource, 'application/json', ms)
          return isNo(list) ? list : { tags: tagsOf(list.body), link: list.answer.headers.link }
        },
        { by: 'tag', unknown: 'NAME_UNKNOWN', story, now: monotonicNow },
      )
      tell(story, candidate, 'miss')
      if (asked === 0) return answerOf(name, [], undefined)
      return answerOf(name, found.tags, nextQuery(found.link, candidate, request))
    },
  }
}

function candidatesOf(request: PullRequest, mark: string | null): Eligible[] {
  const eligible = eligibleOf(request)
  return mark === null
    ? eligible
    : eligible.filter(({ upstream }) => upstream.id.startsWith(mark) && mark.length === markLength)
}

/** Undefined when the client left it open. */
function pageOf(query: URLSearchParams): number | undefined {
  const text = query.get('n')
  if (text === null) return undefined
  if (!/^\d{1,20}$/.test(text))
    throw new OciError('PAGINATION_NUMBER_INVALID', { detail: { n: text.slice(0, 20) } })
  return Math.min(Number(text), longestPage)
}

function firstPage(asked: number | undefined, query: URLSearchParams): URLSearchParams {
  const sent = new URLSearchParams()
  if (asked !== undefined) sent.set('n', String(Math.max(1, asked)))
  const last = query.get('last')
  if (last) sent.set('last', last.slice(0, longestTag).replace(/[^\x20-\x7e].*$/s, ''))
  return sent
}

/** The upstream's own query, which its `Link` gave: its pages may be opaque. */
function laterPage(asked: number | undefined, query: URLSearchParams): URLSearchParams {
  const sent = new URLSearchParams(query)
  for (const ours of [upstreamParameter, 'ns']) sent.delete(ours)
  if (asked !== undefined) sent.set('n', String(Math.max(1, asked)))
  return sent
}

function formatQuery(query: URLSearchParams): string {
  return query.size === 0 ? '' : `?${query}`
}

/** Of the upstream's `Link` only the query counts: wherever else it points, the next page is asked of the same place. */
function nextQuery(
  link: string | undefined,
  { upstream }: Eligible,
  { ns }: PullRequest,
): string | undefined {
  const query = nextPage(link)
  if (!query) return undefined
  const next = new URLSearchParams(query)
  next.set(upstreamParameter, upstream.id.slice(0, markLength))
  if (ns !== '') next.set('ns', ns)
  return next.toString()
}

/** The query of `Link: <…>; rel="next"` (RFC 8288); undefined when there is none. In a time in proportion to the header. */
export function nextPage(link: string | undefined): string | undefined {
  const target = /<([^<>]{1,4096})>[ \t]{0,8};[^,<]*\brel="?next"?/i.exec(link ?? '')?.[1]
  return target === undefined ? undefined : target.split('#', 1)[0]!.split('?')[1] || undefined
}

function tagsOf(body: Buffer): string[] {
  let list: { readonly tags?: unknown } | null
  try {
    list = JSON.parse(body.toString('utf8')) as typeof list
  } catch (cause) {
    throw new UpstreamError('invalid-response', 'the list of tags is not JSON', { cause })
  }
  // an empty list is null where the registry is written in Go
  const tags = typeof list === 'object' ? (list?.tags ?? []) : undefined
  if (!Array.isArray(tags)) throw new UpstreamError('invalid-response', 'the list of tags is none')
  return tags.filter((tag): tag is string => typeof tag === 'string')
}

function answerOf(name: string, tags: readonly string[], next: string | undefined): ListAnswer {
  const body = Buffer.from(JSON.stringify({ name, tags }))
  return { body, mediaType: 'application/json', next, filtersApplied: undefined, warning: undefined }
}
