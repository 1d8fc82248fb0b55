/**
 * What names in resources may be made of. Each goes into a CRD as it stands, so each keeps to what Go's RE2 knows (no
 * look-around, no back-references) and to ASCII, so that lengths mean the same to every reader.
 */

/** A name of a Kubernetes object: a DNS subdomain. */
export const objectNamePattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/

/** A namespace: one DNS label. */
export const namespacePattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/

/** One or more components of a repository's name, as in the distribution specification. */
export const repositoryPattern = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/

/** The same as `globPattern` of proxy/oci/glob.ts, which may not be imported here; a test compares them. */
export const globPattern = /^[a-z0-9._/*?-]+$/

const name = '[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?'
const host = `(\\[[0-9A-Fa-f:.]+\\]|${name}(\\.${name})*)`
const port = '(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})'
const segment = '[A-Za-z0-9_~-][A-Za-z0-9._~-]*'
const lowerName = '[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?'
const lowerDomain = `${lowerName}(\\.${lowerName})*`

/** A host without a port, in lower case: lists of hosts have one way to write each. */
export const hostPattern = new RegExp(`^${lowerDomain}$`)

/** A host in lower case, with or without a port; IPv6 addresses in brackets. */
export const hostAndPortPattern = new RegExp(`^(\\[[0-9a-f:.]+\\]|${lowerDomain})(:${port})?$`)

/**
 * http or https, a host, perhaps a port and a path: no user info, query, fragment or percent-encoding. In any case, as
 * people copy addresses.
 */
export const urlPattern = new RegExp(`^[hH][tT][tT][pP][sS]?://${host}(:${port})?(/${segment})*/?$`)

/** A key of a Secret or a ConfigMap. */
export const dataKeyPattern = /^[-._a-zA-Z0-9]+$/

/** A key of a label: a name, perhaps with the domain of whoever gave it and a slash before. */
export const labelKeyPattern =
  /^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/

/** The value of a label, which may be empty. */
export const labelValuePattern = /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/

/** A pattern as CEL writes it; none of them has a quote. */
export function celPattern(pattern: RegExp): string {
  return `r'${pattern.source.replaceAll('\\/', '/')}'`
}
