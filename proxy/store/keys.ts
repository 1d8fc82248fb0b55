import { algorithmOf, hexOf } from '../oci/digest.ts'
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

const keyPattern =
  /^upstreams\/(?<upstreamId>[a-f0-9]{64})\/(?<repository>.+?)\/_(?:tags\/(?<tag>[^/]+)|(?<referrers>referrers\/(?:sha256|sha512)\/[a-f0-9]+)|links\/(?<kind>manifest|blob)s\/(?<algorithm>sha256|sha512)\/(?<hex>[a-f0-9]+))$/

/** The opposite of the two above; undefined for a key that is neither. */
export function parseDocumentKey(
  key: string,
): { tag: TagKey; link?: undefined } | { link: LinkKey; tag?: undefined } | undefined {
  const { upstreamId, repository, tag, referrers, kind, algorithm, hex } = keyPattern.exec(key)?.groups ?? {}
  if (upstreamId === undefined || repository === undefined) return undefined
  if (kind !== undefined) {
    return {
      link: {
        upstreamId,
        repository,
        kind: kind as LinkKey['kind'],
        digest: `${algorithm}:${hex}` as LinkKey['digest'],
      },
    }
  }
  return { tag: { upstreamId, repository, tag: (tag ?? referrers)! } }
}
