import { describe, expect, it } from 'vitest'
import { checkDocumentKey } from '../../../proxy/store/document-store.ts'
import type { LinkKey, TagKey } from '../../../proxy/store/index-store.ts'
import { linkDocumentKey, parseDocumentKey, tagDocumentKey } from '../../../proxy/store/keys.ts'

const upstreamId = 'c'.repeat(64)
const hex = '0'.repeat(64)

describe('the keys of documents', () => {
  const repositories = ['alpine', 'a', 'library/alpine', 'foo/bar/tags', 'r'.repeat(255)]

  it.each(repositories)('lead back to the tags and links of %j', (repository) => {
    const tags: TagKey[] = ['latest', 'V1.0_x-y', `referrers/sha256/${hex}`].map((tag) => ({
      upstreamId,
      repository,
      tag,
    }))
    for (const tag of tags) {
      checkDocumentKey(tagDocumentKey(tag))
      expect(parseDocumentKey(tagDocumentKey(tag))).toEqual({ tag })
    }
    const links: LinkKey[] = [
      { upstreamId, repository, kind: 'manifest', digest: `sha256:${hex}` },
      { upstreamId, repository, kind: 'blob', digest: `sha512:${hex}${hex}` },
    ]
    for (const link of links) {
      checkDocumentKey(linkDocumentKey(link))
      expect(parseDocumentKey(linkDocumentKey(link))).toEqual({ link })
    }
  })

  it.each([
    '',
    'upstreams',
    `upstreams/${upstreamId}/_tags/latest`,
    `upstreams/short/alpine/_tags/latest`,
    `upstreams/${upstreamId}/alpine/_tags/.latest`,
    `upstreams/${upstreamId}/alpine/_tags/a/b`,
    `upstreams/${upstreamId}/Alpine/_tags/latest`,
    `upstreams/${upstreamId}/a//b/_tags/latest`,
    `upstreams/${upstreamId}/../b/_tags/latest`,
    `upstreams/${upstreamId}/alpine/_links/blobs/sha256/${hex}00`,
    `upstreams/${upstreamId}/alpine/_links/blobs/md5/${hex}`,
    `upstreams/${upstreamId}/alpine/_links/other/sha256/${hex}`,
    `upstreams/${upstreamId}/alpine/_referrers/sha256/short`,
    `upstreams/${upstreamId}/alpine/_other/x`,
  ])('do not include %j', (key) => {
    expect(parseDocumentKey(key)).toBeUndefined()
  })
})
