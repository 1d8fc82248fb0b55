import { LRUCache } from 'lru-cache'
import type { Observer } from '../observer.ts'
import { algorithmOf, type Digest, digestOf, isDigest } from '../oci/digest.ts'
import {
  isInvalid,
  isManifestType,
  type ManifestContent,
  manifestAccept,
  maxManifestBytes,
  readManifest,
} from '../oci/manifest.ts'
import type { UpstreamRoute } from '../routes.ts'
import type { UpstreamAnswer, UpstreamClient, UpstreamRequest } from '../upstream/client.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { alone, type FleetFlight, type Question } from './fleet-flight.ts'
import { type Health, nameOf } from './health.ts'
import { passedHead, passedManifest } from './passed-on.ts'
import { createSingleFlight, keyOf } from './single-flight.ts'
import { refusalOf } from './trouble.ts'

/** A repository as one upstream knows it. */
export interface Place {
  readonly upstream: UpstreamRoute
  readonly repository: string
}

/** The definite no of an upstream, with its status. */
export interface No {
  readonly no: number
}

export function isNo(answer: object): answer is No {
  return 'no' in answer
}

/** The upstream knows no HEAD: a GET says more. */
export function refusesHead({ no }: No): boolean {
  return no === 405 || no === 501
}

export interface ManifestHead {
  /** Undefined where the upstream did not say, or not well. */
  readonly digest: Digest | undefined
  readonly size: number | undefined
  readonly mediaType: string
}

export interface FetchedManifest extends ManifestContent {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Buffer
}

export type FoundAnswer = Extract<UpstreamAnswer, { found: true }>

/**
 * What can be asked of an upstream. Each throws UpstreamError for trouble; simultaneous equal HEADs share one request;
 * a no is remembered for seconds, trouble never. What is asked of manifests is asked once for all replicas.
 */
export interface Questions {
  headManifest(place: Place, reference: string, firstByteMs: number): Promise<ManifestHead | No>
  /** Verified: against the digest it was asked by, or hashed when asked by tag. */
  getManifest(place: Place, reference: string, firstByteMs: number): Promise<FetchedManifest | No>
  headBlob(place: Place, digest: Digest, firstByteMs: number): Promise<{ size: number | undefined } | No>
  /** The caller reads the body to its end or destroys it. */
  getBlob(place: Place, digest: Digest, firstByteMs: number): Promise<FoundAnswer | No>
  /** A list's raw body of at most 4 MiB, with its headers. */
  getList(
    place: Place,
    resource: string,
    accept: string,
    firstByteMs: number,
  ): Promise<{ answer: FoundAnswer; body: Buffer } | No>
  /** The next question of this is sent, whatever the last answer was. */
  forgetNo(place: Place, resource: string): void
}

const rememberedNos = 20_000
const bodyMs = 30_000

export function createQuestions({
  client,
  health,
  observer,
  negativeMs = 5_000,
  flight = alone,
}: {
  client: UpstreamClient
  health: Health
  observer: Observer
  negativeMs?: number
  /** Among replicas over the same stores. */
  flight?: FleetFlight
}): Questions {
  const nos = new LRUCache<string, No>({ max: rememberedNos, ttl: Math.max(1, negativeMs) })
  const manifestHeads = createSingleFlight<ManifestHead | No>()
  const blobHeads = createSingleFlight<{ size: number | undefined } | No>()

  async function send(
    place: Place,
    request: Omit<UpstreamRequest, 'upstream' | 'repository'>,
  ): Promise<FoundAnswer | No> {
    const { upstream, repository } = place
    const known = rememberedNo(place, request.method, request.resource)
    if (known) return known
    const answer = await health.run(upstream, () => client.request({ ...request, upstream, repository }))
    if (answer.found) return answer
    const no = { no: answer.status }
    remember(place, request.method, request.resource, no)
    return no
  }

  /** Throws where the upstream must not be asked. */
  function rememberedNo({ upstream, repository }: Place, method: string, resource: string): No | undefined {
    const refusal = refusalOf(upstream)
    if (refusal) throw refusal
    return nos.get(keyOf(upstream.id, repository, method, resource))
  }

  function remember({ upstream, repository }: Place, method: string, resource: string, no: No): void {
    if (negativeMs > 0) nos.set(keyOf(upstream.id, repository, method, resource), no)
  }

  async function once<T extends object>(
    place: Place,
    { method, resource }: { readonly method: 'GET' | 'HEAD'; readonly resource: string },
    firstByteMs: number,
    question: Question<T | No>,
  ): Promise<T | No> {
    const known = rememberedNo(place, method, resource)
    if (known) return known
    const { upstream, repository } = place
    const key = keyOf(method, upstream.id, upstream.origin, repository, resource)
    const heard = (trouble: UpstreamError) => health.heard(upstream, trouble)
    const answer = await flight(key, firstByteMs, { ...question, heard })
    if (isNo(answer)) remember(place, method, resource, answer)
    return answer
  }

  async function head(place: Place, resource: string, accept: string | undefined, firstByteMs: number) {
    const answer = await send(place, { method: 'HEAD', resource, accept, firstByteMs })
    if (!isNo(answer)) answer.body.destroy()
    return answer
  }

  async function get(place: Place, resource: string, accept: string, firstByteMs: number) {
    const signal = AbortSignal.timeout(Math.ceil(firstByteMs) + bodyMs)
    const answer = await send(place, { method: 'GET', resource, accept, firstByteMs, signal })
    return isNo(answer) ? answer : { answer, body: await readBounded(answer, maxManifestBytes) }
  }

  async function headManifest(
    place: Place,
    reference: string,
    firstByteMs: number,
  ): Promise<ManifestHead | No> {
    const answer = await head(place, `manifests/${reference}`, manifestAccept, firstByteMs)
    if (isNo(answer)) return answer
    const { contentDigest, size, contentType } = answer.headers
    if (contentType === undefined) return { digest: undefined, size: undefined, mediaType: '' }
    if (!isManifestType(contentType))
      throw invalid(place, 'a HEAD of a manifest was answered with another type')
    return {
      digest: isDigest(contentDigest) ? contentDigest : undefined,
      size: size || undefined,
      mediaType: contentType,
    }
  }

  async function getManifest(
    place: Place,
    reference: string,
    firstByteMs: number,
  ): Promise<FetchedManifest | No> {
    const fetched = await get(place, `manifests/${reference}`, manifestAccept, firstByteMs)
    if (isNo(fetched)) return fetched
    const { contentType, contentDigest } = fetched.answer.headers
    const digest = digestOfManifest(fetched.body, isDigest(reference) ? reference : undefined, contentDigest)
    if (digest === undefined) {
      observer.digestMismatch(nameOf(place.upstream))
      throw invalid(place, 'the manifest is not what its digest says')
    }
    const content = readManifest(fetched.body, contentType)
    if (isInvalid(content)) throw invalid(place, content.invalid)
    return { ...content, digest, mediaType: contentType ?? '', bytes: fetched.body }
  }

  return {
    headManifest(place, reference, firstByteMs) {
      const asked = { method: 'HEAD', resource: `manifests/${reference}` } as const
      const ask = () => headManifest(place, reference, firstByteMs)
      return manifestHeads(keyOf(place.upstream.id, place.repository, reference), () =>
        once(place, asked, firstByteMs, { ask, ...passedHead }),
      )
    },

    getManifest(place, reference, firstByteMs) {
      const asked = { method: 'GET', resource: `manifests/${reference}` } as const
      const ask = () => getManifest(place, reference, firstByteMs)
      const isAsked = (answer: FetchedManifest | No) =>
        isNo(answer) || !isDigest(reference) || answer.digest === reference
      const read = (text: string) => {
        const answer = passedManifest.read(text)
        return answer && isAsked(answer) ? answer : undefined
      }
      return once(place, asked, firstByteMs, { ask, write: passedManifest.write, read })
    },

    headBlob(place, digest, firstByteMs) {
      return blobHeads(keyOf(place.upstream.id, place.repository, digest), async () => {
        const answer = await head(place, `blobs/${digest}`, undefined, firstByteMs)
        return isNo(answer) ? answer : { size: answer.headers.size }
      })
    },

    getBlob: (place, digest, firstByteMs) =>
      send(place, { method: 'GET', resource: `blobs/${digest}`, firstByteMs }),

    getList: get,

    forgetNo({ upstream, repository }, resource) {
      for (const method of ['GET', 'HEAD']) nos.delete(keyOf(upstream.id, repository, method, resource))
    },
  }
}

/**
 * What the bytes are to be called; undefined when they are not what was asked for. By tag the header is believed only
 * where it names another algorithm's digest of these very bytes, and otherwise not needed.
 */
function digestOfManifest(
  bytes: Buffer,
  asked: Digest | undefined,
  header: string | undefined,
): Digest | undefined {
  if (asked) return digestOf(bytes, algorithmOf(asked)) === asked ? asked : undefined
  if (isDigest(header) && algorithmOf(header) === 'sha512' && digestOf(bytes, 'sha512') === header)
    return header
  return digestOf(bytes)
}

async function readBounded({ body, headers }: FoundAnswer, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  const tooLarge = () =>
    new UpstreamError('invalid-response', `the upstream's answer has more than ${limit} bytes`)
  if ((headers.size ?? 0) > limit) {
    body.destroy()
    throw tooLarge()
  }
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > limit) throw tooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function invalid({ upstream }: Place, message: string): UpstreamError {
  return new UpstreamError('invalid-response', `${nameOf(upstream)}: ${message}`)
}
