import { OciError } from '../oci/errors.ts'

/** The target of a request line, taken apart and otherwise as it came: nothing is decoded or normalised. */
export interface Target {
  readonly path: string
  /** Without its `?`; empty for none. */
  readonly query: string
  /** Lower-case and without its port; undefined where the request names none. */
  readonly host: string | undefined
}

const absoluteForm = /^https?:\/\/(?<authority>[^/?#]*)(?<rest>.*)$/is

/**
 * The absolute form (RFC 9112, 3.2.2) is read as its path, and its authority then stands for the `Host` header. Throws
 * NAME_INVALID for a fragment, which no client sends and which others on the way might cut off.
 */
export function parseTarget(raw: string, hostHeader: string | undefined): Target {
  if (raw.includes('#')) throw new OciError('NAME_INVALID')
  const { authority, rest } = raw.startsWith('/') ? {} : (absoluteForm.exec(raw)?.groups ?? {})
  const origin = rest === undefined ? raw : rest.startsWith('/') ? rest : `/${rest}`
  const at = origin.indexOf('?')
  return {
    path: at < 0 ? origin : origin.slice(0, at),
    query: at < 0 ? '' : origin.slice(at + 1),
    host: hostOf(authority ?? hostHeader),
  }
}

export function hostOf(authority: string | undefined): string | undefined {
  if (authority === undefined || authority === '') return undefined
  return authority.replace(/:\d*$/, '').toLowerCase()
}

const legalNamespace = /^[a-z0-9._:[\]-]{1,255}$/

/**
 * The registry that a mirror stands in for (`?ns=`, Registry Proxying), lower-case; empty for none. What is no host is
 * the name of no upstream: NAME_UNKNOWN.
 */
export function namespaceOf(query: URLSearchParams): string {
  const ns = query.get('ns')?.toLowerCase() ?? ''
  if (ns !== '' && !legalNamespace.test(ns)) throw new OciError('NAME_UNKNOWN')
  return ns
}
