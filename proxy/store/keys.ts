import { algorithmOf, hexOf, isDigest } from '../oci/digest.ts'
import { isName, isTag } from '../oci/reference.ts'
import type { LinkKey, TagKey } from './index-store.ts'

/**
 * Where the documents of a cached reference are kept. No repository component begins with `_`, so a tag `bar` of the
 * repository `foo` and the repository `foo/bar` stand side by side.
 */
export function tagDocumentKey({ upstreamId, repository, tag }: TagKey): string {
  const place = tag.includes('/') ? `_${tag}` : `_tags/${tag}`
  return `upstreams/${upstreamId}/${repository}/${place}`
}

export function linkDocumentKey({ upstreamId, repository, kind, digest }: LinkKey): string {
  return `upstreams/${upstreamId}/${repository}/_links/${kind}s/${algorithmOf(digest)}/${hexOf(digest)}`
}

/** Where the uses of all that is cached of a repository are kept, see use-snapshots.ts. */
export function usesDocumentKey({
  upstreamId,
  repository,
}: Pick<TagKey, 'upstreamId' | 'repository'>): string {
  return `upstreams/${upstreamId}/${repository}/_uses`
}

const usesKeyPattern = /^upstreams\/(?<upstreamId>[a-f0-9]{64})\/(?<repository>[^_].*?)\/_uses$/

/** The opposite; undefined for any other key. */
export function parseUsesDocumentKey(
  key: string,
): { readonly upstreamId: string; readonly repository: string } | undefined {
  const { upstreamId, repository } = usesKeyPattern.exec(key)?.groups ?? {}
  if (upstreamId === undefined || repository === undefined || !isName(repository)) return undefined
  return { upstreamId, repository }
}

const keyPattern =
  /^upstreams\/(?<upstreamId>[a-f0-9]{64})\/(?<repository>[^_].*?)\/_(?<kind>tags|referrers|links\/manifests|links\/blobs)\/(?<last>[^/]+|[^/]+\/[^/]+)$/

/** The opposite of the two above; undefined for a key that is neither. */
export function parseDocumentKey(
  key: string,
): { tag: TagKey; link?: undefined } | { link: LinkKey; tag?: undefined } | undefined {
  const { upstreamId, repository, kind, last } = keyPattern.exec(key)?.groups ?? {}
  if (upstreamId === undefined || repository === undefined || last === undefined) return undefined
  if (!isName(repository)) return undefined
  if (kind === 'tags') return isTag(last) ? { tag: { upstreamId, repository, tag: last } } : undefined

  const digest = last.replace('/', ':')
  if (!isDigest(digest)) return undefined
  if (kind === 'referrers') return { tag: { upstreamId, repository, tag: `referrers/${last}` } }
  return { link: { upstreamId, repository, kind: kind === 'links/blobs' ? 'blob' : 'manifest', digest } }
}
