import type { Digest } from '../oci/digest.ts'
import type { LinkKey, TagKey, UseKey } from './index-store.ts'

/** Another layout gets another number here, so that old and new replicas do not disturb each other. */
const layout = 'hw1'

/** One upstream and repository: all that is atomic together, and so in one slot of a cluster. */
export type Place = Pick<TagKey, 'upstreamId' | 'repository'>

const slotOf = ({ upstreamId, repository }: Place) => `{${upstreamId}/${repository}}`
export const tagKeyOf = (key: TagKey) => `${layout}:t:${slotOf(key)}:${key.tag}`
export const tagsOf = (place: Place) => `${layout}:T:${slotOf(place)}`
export const linkKeyOf = (key: LinkKey) => `${layout}:l:${slotOf(key)}:${linkMember(key)}`
export const linkMember = ({ kind, digest }: Pick<LinkKey, 'kind' | 'digest'>) => `${kind}:${digest}`
/** Of the entry that has its use. */
export const usedKeyOf = ({ tag, link }: UseKey) => (tag ? tagKeyOf(tag) : linkKeyOf(link))
export const linksOf = (place: Place) => `${layout}:L:${slotOf(place)}`
export const mentionsOf = (place: Place) => `${layout}:m:${slotOf(place)}:`
export const pendingKeyOf = (key: TagKey) => `${layout}:P:${slotOf(key)}:${key.tag}`
export const pendingOnKeyOf = (place: Place, digest: Digest) => `${layout}:d:${slotOf(place)}:${digest}`
export const possessionOf = (origin: string, digest: Digest) => `${layout}:p:${digest}:${origin}`
export const repositoriesOf = (upstreamId: string) => `${layout}:R:{${upstreamId}}`
export const upstreamsKey = `${layout}:U`
