import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts'
import { essenceOf, indexMediaType, maxManifestBytes } from '../oci/manifest.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { nameOf } from './health.ts'
import { isNo, type No, type Place, type Questions } from './questions.ts'
import { createSingleFlight, keyOf } from './single-flight.ts'
import { nextPage } from './tag-lists.ts'
import { refusalOf } from './trouble.ts'
import { within } from './within.ts'

/** How one upstream lists what refers to a subject: by its API, or else by the tag schema. */
export interface ReferrersSource {
  /** Who asks at once shares an asking, all of which takes no longer than `ms`. Throws UpstreamError. */
  list(place: Place, subject: Digest, ms: number): Promise<ReferrersList | No>
  /** The next asking is sent, whatever the last answer was. */
  forgetNo(place: Place, subject: Digest): void
}

export interface ReferrersList {
  /** An index. */
  readonly body: Buffer
  readonly isEmpty: boolean
}

interface Page {
  readonly body: Buffer
  /** The query of the page after it. */
  readonly next: string | undefined
}

const maxPages = 20

/** `now` is monotonic, in milliseconds. */
export function createReferrersSource({
  questions,
  now,
}: {
  questions: Questions
  now: () => number
}): ReferrersSource {
  const listings = createSingleFlight<ReferrersList | No>()

  async function listAll(place: Place, subject: Digest, left: () => number): Promise<ReferrersList | No> {
    const refusal = refusalOf(place.upstream)
    if (refusal) throw refusal
    return (await fromApi(place, subject, left)) ?? fromTagSchema(place, subject, left())
  }

  /** All pages as one index; undefined where the upstream has no such API. */
  async function fromApi(
    place: Place,
    subject: Digest,
    left: () => number,
  ): Promise<ReferrersList | undefined> {
    const pages: Buffer[] = []
    let next: string | undefined = ''
    while (next !== undefined && pages.length < maxPages) {
      const page: Page | undefined = await pageOf(place, `${apiOf(subject)}${next}`, left())
      if (!page) return undefined
      pages.push(page.body)
      if (pages.reduce((sum, { length }) => sum + length, 0) > maxManifestBytes) throw tooLong(place)
      next = page.next === next ? undefined : page.next
    }
    return listOf(pages.length === 1 ? pages[0]! : formatIndex(pages.flatMap(manifestsOf)))
  }

  async function pageOf(place: Place, resource: string, ms: number): Promise<Page | undefined> {
    const found = await questions.getList(place, resource, indexMediaType, ms)
    if (isNo(found) || essenceOf(found.answer.headers.contentType) !== indexMediaType) return undefined
    const next = nextPage(found.answer.headers.link)
    return { body: found.body, next: next === undefined ? undefined : `?${next}` }
  }

  async function fromTagSchema(place: Place, subject: Digest, ms: number): Promise<ReferrersList | No> {
    const found = await questions.getManifest(place, tagOf(subject), ms)
    if (isNo(found)) return found
    return essenceOf(found.mediaType) === indexMediaType ? listOf(found.bytes) : { no: 404 }
  }

  return {
    async list(place, subject, ms) {
      const listing = listings(keyOf(place.upstream.id, place.repository, subject), () => {
        const endsAt = now() + ms
        return listAll(place, subject, () => {
          const left = Math.ceil(endsAt - now())
          if (left <= 0) throw tooSlow(place)
          return left
        })
      })
      const list = await within<ReferrersList | No | undefined>(ms, listing, () => undefined)
      if (!list) throw tooSlow(place)
      return list
    },

    forgetNo(place, subject) {
      questions.forgetNo(place, apiOf(subject))
      questions.forgetNo(place, `manifests/${tagOf(subject)}`)
    },
  }
}

function apiOf(subject: Digest): string {
  return `referrers/${subject}`
}

function tagOf(subject: Digest): string {
  return `${algorithmOf(subject)}-${hexOf(subject).slice(0, 64)}`
}

/** Throws UpstreamError where it is no index. */
function listOf(body: Buffer): ReferrersList {
  return { body, isEmpty: manifestsOf(body).length === 0 }
}

export function formatIndex(manifests: readonly unknown[]): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexMediaType, manifests }))
}

/** Throws UpstreamError where it is no index. */
export function manifestsOf(index: Buffer): unknown[] {
  let read: { manifests?: unknown } | null
  try {
    read = JSON.parse(index.toString('utf8')) as typeof read
  } catch (cause) {
    throw new UpstreamError('invalid-response', 'the list of referrers is not JSON', { cause })
  }
  if (!Array.isArray(read?.manifests))
    throw new UpstreamError('invalid-response', 'the list of referrers is no index')
  return read.manifests
}

function tooSlow({ upstream }: Place): UpstreamError {
  return new UpstreamError('timeout', `${nameOf(upstream)} did not list all referrers in time`)
}

function tooLong({ upstream }: Place): UpstreamError {
  const message = `${nameOf(upstream)} lists more than ${maxManifestBytes} bytes of referrers`
  return new UpstreamError('invalid-response', message)
}
