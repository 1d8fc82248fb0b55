import { type Digest, parseDigest } from './digest.ts'
import { OciError } from './errors.ts'

/** A tag, or a digest: never both. */
export type Reference =
  | { readonly tag: string; readonly digest?: undefined }
  | { readonly digest: Digest; readonly tag?: undefined }

/** What a path under `/v2/` asks for. `name` still begins with the registry's path; `routes` tells the two apart. */
export type Endpoint =
  | { readonly kind: 'version' }
  | { readonly kind: 'manifest'; readonly name: Name; readonly reference: Reference }
  | { readonly kind: 'blob'; readonly name: Name; readonly digest: Digest }
  | { readonly kind: 'tags'; readonly name: Name }
  | { readonly kind: 'referrers'; readonly name: Name; readonly subject: Digest }

/**
 * `registry` is set only by the form `/<registry>/v2/<repository>/…`, which containerd uses for a mirror without
 * `override_path`; otherwise the registry's path is the beginning of `repository`, or the request's host says it.
 */
export interface Name {
  readonly registry: string | undefined
  readonly repository: string
}

const component = /[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*/.source
const namePattern = new RegExp(`^${component}(?:/${component})*$`)
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/
const endpointPattern = /^(?<name>.+)\/(?<kind>manifests|blobs|tags|referrers)\/(?<last>[^/]+)$/

/** No name, tag or digest of the grammar needs another character; a longer path has an illegal name or reference. */
const legalPath = /^\/[A-Za-z0-9._\-/:+=]*$/
const maxNameLength = 255
const maxPathLength = 2 * maxNameLength + 160

/**
 * Reads the path of a request, as it came: not decoded, without its query. Percent-encoding is refused, since no legal
 * name needs it. Throws OciError. Follows "Endpoints" and "Pulling manifests" of the distribution specification.
 */
export function parseEndpoint(path: string): Endpoint {
  if (path.length > maxPathLength || !legalPath.test(path)) throw new OciError('NAME_INVALID')
  if (isVersionPath(path)) return { kind: 'version' }
  const { registry, rest } = splitVersion(path)
  if (rest === '_catalog') throw new OciError('CATALOG_UNSUPPORTED')

  if (rest.endsWith('/manifests/')) throw new OciError('MANIFEST_UNKNOWN')
  const { name: text, kind, last } = endpointPattern.exec(rest)?.groups ?? {}
  if (text === undefined || last === undefined) throw new OciError(whyUnreadable(rest))
  if (registry !== undefined) checkName(registry)
  const name = { registry, repository: checkName(text) }
  switch (kind) {
    case 'manifests':
      return { kind: 'manifest', name, reference: parseReference(last) }
    case 'blobs':
      return { kind: 'blob', name, digest: parseDigest(last) }
    case 'referrers':
      return { kind: 'referrers', name, subject: parseDigest(last) }
    case 'tags':
      if (last === 'list') return { kind: 'tags', name }
  }
  throw new OciError('PATH_UNKNOWN')
}

/** `/v2/`, with or without its slash, also below a name: dockerd asks a mirror whose URL has a path for `/<path>/v2/`. */
function isVersionPath(path: string): boolean {
  const base = path.endsWith('/') ? path.slice(0, -1) : path
  if (base === '/v2') return true
  return base.endsWith('/v2') && base.indexOf('/v2/') < 0 && isName(base.slice(1, -3))
}

/** `/v2/<rest>`, or `/<registry>/v2/<rest>`; the first `/v2/` decides. */
function splitVersion(path: string): { registry: string | undefined; rest: string } {
  if (path.startsWith('/v2/')) return { registry: undefined, rest: path.slice(4) }
  const at = path.indexOf('/v2/')
  if (at < 0) throw new OciError('PATH_UNKNOWN')
  if (at === 1) throw new OciError('NAME_UNKNOWN')
  return { registry: path.slice(1, at), rest: path.slice(at + 4) }
}

function whyUnreadable(rest: string): 'DIGEST_INVALID' | 'NAME_UNKNOWN' | 'PATH_UNKNOWN' {
  if (/(?:^|\/)(?:manifests|blobs|referrers)\/[^/:]+:/.test(rest)) return 'DIGEST_INVALID'
  return /(?:^|\/)(?:manifests|blobs|tags|referrers)\//.test(rest) ? 'NAME_UNKNOWN' : 'PATH_UNKNOWN'
}

/** A tag cannot contain a colon and a digest must: one character decides. A bad tag is unknown, as the conformance suite asks. */
export function parseReference(text: string): Reference {
  if (text.includes(':')) return { digest: parseDigest(text) }
  if (!tagPattern.test(text)) throw new OciError('MANIFEST_UNKNOWN')
  return { tag: text }
}

export function isTag(text: string): boolean {
  return tagPattern.test(text)
}

/** The grammar of a repository name of at most 255 characters; the length is checked first, so the pattern never sees a long hostile string. */
export function isName(text: string): boolean {
  return text.length <= maxNameLength && namePattern.test(text)
}

/** May still hold a registry's path and a repository: each is held to `maxNameLength` once they are told apart. */
function checkName(text: string): string {
  if (!namePattern.test(text)) throw new OciError('NAME_INVALID')
  return text
}

export function formatReference(reference: Reference): string {
  return reference.tag ?? reference.digest
}
