import { isDigest } from '../../proxy/oci/digest.ts'
import type { Content, StoredManifest } from './content.ts'
import { errorBody, type SeenRequest, setBody } from './fault.ts'
import type { Reply } from './reply.ts'
import { bytesSource, type Source, textSource } from './source.ts'

const endpoint = /^\/v2\/(?<name>.+)\/(?<kind>manifests|blobs|tags|referrers)\/(?<last>[^/]+)$/

/** The repository a path is about; undefined for `/v2/` and what is not the registry's. */
export function repositoryOf(path: string): string | undefined {
  return endpoint.exec(path)?.groups?.name
}

/**
 * What a registry that follows the distribution specification answers for what it holds: manifests, blobs with ranges,
 * tags with `n` and `last`, the referrers API.
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md
 */
export function answer(
  content: Content,
  request: SeenRequest,
  { referrersApi }: { referrersApi: boolean },
): Reply {
  const reply = emptyReply()
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(reply, 405, 'UNSUPPORTED')
  if (request.path === '/v2/' || request.path === '/v2') return json(reply, {})

  const { name = '', kind, last = '' } = endpoint.exec(request.path)?.groups ?? {}
  const repository = content.repository(name)
  switch (kind) {
    case 'manifests': {
      const digest = isDigest(last) ? last : repository?.tags.get(last)
      const manifest = digest && repository?.manifests.get(digest)
      return manifest ? sendManifest(reply, manifest) : refuse(reply, 404, 'MANIFEST_UNKNOWN')
    }
    case 'blobs': {
      const blob = isDigest(last) ? repository?.blobs.get(last) : undefined
      return blob ? sendBlob(reply, request, last, blob) : refuse(reply, 404, 'BLOB_UNKNOWN')
    }
    case 'tags':
      if (!repository) return refuse(reply, 404, 'NAME_UNKNOWN')
      return sendTags(reply, request, name, [...repository.tags.keys()].sort())
    case 'referrers':
      if (!referrersApi) return refuse(reply, 404, 'UNSUPPORTED')
      if (!isDigest(last)) return refuse(reply, 400, 'DIGEST_INVALID')
      return sendReferrers(reply, request, content.referrers(name, last))
    default:
      return refuse(reply, 404, 'NAME_UNKNOWN')
  }
}

export function emptyReply(): Reply {
  const nothing = textSource('')
  return {
    status: 200,
    statusText: undefined,
    headers: { 'docker-distribution-api-version': 'registry/2.0' },
    body: nothing,
    whole: nothing,
    framing: 'length',
    version: '1.1',
    delayMs: 0,
    hold: undefined,
    stallAt: undefined,
    cut: undefined,
    corrupt: [],
    bytesPerSecond: undefined,
    impatience: undefined,
    raw: undefined,
  }
}

export function refuse(reply: Reply, status: number, code: string): Reply {
  reply.status = status
  reply.headers['content-type'] = 'application/json'
  setBody(reply, errorBody(status, code))
  return reply
}

export function json(reply: Reply, value: unknown, contentType = 'application/json'): Reply {
  reply.headers['content-type'] = contentType
  setBody(reply, JSON.stringify(value))
  return reply
}

function sendManifest(reply: Reply, { descriptor, bytes }: StoredManifest): Reply {
  reply.headers['content-type'] = descriptor.mediaType
  reply.headers['docker-content-digest'] = descriptor.digest
  reply.headers.etag = `"${descriptor.digest}"`
  setBody(reply, bytes)
  reply.whole = bytesSource(bytes)
  return reply
}

/** Bytes with one range at most, open, closed or a suffix. */
export function sendBlob(
  reply: Reply,
  request: SeenRequest,
  digest: string | undefined,
  blob: Source,
): Reply {
  reply.headers['content-type'] = 'application/octet-stream'
  reply.headers['accept-ranges'] = 'bytes'
  if (digest !== undefined) {
    reply.headers['docker-content-digest'] = digest
    reply.headers.etag = `"${digest}"`
  }
  setBody(reply, blob)
  reply.whole = blob

  const { first, last } =
    /^bytes=(?<first>\d*)-(?<last>\d*)$/.exec(String(request.headers.range))?.groups ?? {}
  if (!first && !last) return reply
  const start = first ? Number(first) : Math.max(0, blob.size - Number(last))
  const end = Math.min(blob.size, first && last ? Number(last) + 1 : blob.size)
  if (start >= end) {
    reply.headers['content-range'] = `bytes */${blob.size}`
    return refuse(reply, 416, 'RANGE_INVALID')
  }
  reply.status = 206
  reply.headers['content-range'] = `bytes ${start}-${end - 1}/${blob.size}`
  setBody(reply, { size: end - start, read: (from, to) => blob.read(start + from, start + to) })
  return reply
}

function sendTags(reply: Reply, { path, query }: SeenRequest, name: string, tags: readonly string[]): Reply {
  const last = query.get('last') ?? ''
  const after = tags.filter((tag) => tag > last)
  const page = query.has('n') ? after.slice(0, Number(query.get('n'))) : after
  if (page.length > 0 && page.length < after.length) {
    reply.headers.link = `<${path}?n=${page.length}&last=${page.at(-1)}>; rel="next"`
  }
  return json(reply, { name, tags: page })
}

function sendReferrers(
  reply: Reply,
  { query }: SeenRequest,
  all: readonly { artifactType?: string }[],
): Reply {
  const wanted = query.get('artifactType')
  if (wanted !== null) reply.headers['oci-filters-applied'] = 'artifactType'
  const mediaType = 'application/vnd.oci.image.index.v1+json'
  const manifests = all.filter(({ artifactType }) => wanted === null || artifactType === wanted)
  return json(reply, { schemaVersion: 2, mediaType, manifests }, mediaType)
}
