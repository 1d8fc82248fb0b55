import { hostPattern, namespacePattern, repositoryPattern } from '../api/patterns.ts'

/** What the installation lets namespaces have beyond what is theirs. */
export interface Grants {
  readonly paths: readonly Grant[]
  readonly hosts: readonly Grant[]
}

export interface Grant {
  readonly namespace: string
  /** A path, which stands for all below it too; or a host, whose first label may be `*`. */
  readonly to: string
}

/** `NS=PREFIX`; undefined for what is none. */
export function parsePathGrant(text: string): Grant | undefined {
  const { namespace, to } = split(text)
  return namespacePattern.test(namespace) && repositoryPattern.test(to) ? { namespace, to } : undefined
}

/** `NS=PATTERN`, such as `team-a=*.team-a.example.com`; undefined for what is none. */
export function parseHostGrant(text: string): Grant | undefined {
  const { namespace, to } = split(text)
  const isHost = hostPattern.test(to.replace(/^\*\./, ''))
  return namespacePattern.test(namespace) && isHost ? { namespace, to: to.toLowerCase() } : undefined
}

function split(text: string): { namespace: string; to: string } {
  const at = text.indexOf('=')
  return { namespace: text.slice(0, Math.max(at, 0)), to: text.slice(at + 1) }
}

/** A namespace may have its own name as a path, what lies below it, and what it was granted. */
export function mayHavePath(namespace: string, path: string, { paths }: Grants): boolean {
  const granted = paths.filter((grant) => grant.namespace === namespace).map(({ to }) => to)
  return [namespace, ...granted].some((prefix) => path === prefix || path.startsWith(`${prefix}/`))
}

export function mayHaveHost(namespace: string, host: string, { hosts }: Grants): boolean {
  return hosts.some(
    (grant) => grant.namespace === namespace && (grant.to === host || grant.to === wildcardOf(host)),
  )
}

function wildcardOf(host: string): string {
  return `*${host.slice(host.indexOf('.'))}`
}
