/** What a registry wants for itself alone. */
export interface Claim {
  readonly path: string
  /** Lower-case. */
  readonly hosts: readonly string[]
}

export type Conflict<T extends Claim> =
  | { readonly claim: T; readonly holder: T; readonly path: string }
  | { readonly claim: T; readonly holder: T; readonly host: string }

/**
 * Who does not get what they want. The earlier in the list, the better the right; a claim with a conflict holds nothing.
 * Paths must be prefix-free by components: of `a` and `a/b` only one can be told from a repository of the other.
 */
export function settleClaims<T extends Claim>(claims: readonly T[]): Conflict<T>[] {
  const paths = new Map<string, T>()
  const above = new Map<string, T>()
  const hosts = new Map<string, T>()

  function conflictsOf(claim: T): Conflict<T>[] {
    const atOrAbove = [claim.path, ...ancestorsOf(claim.path)].map((path) => paths.get(path))
    const holder = atOrAbove.find((each) => each !== undefined) ?? above.get(claim.path)
    const taken = claim.hosts.map((host) => ({ claim, host, holder: hosts.get(host) })).filter(isHeld)
    return holder === undefined ? taken : [{ claim, holder, path: holder.path }, ...taken]
  }

  return claims.flatMap((claim) => {
    const conflicts = conflictsOf(claim)
    if (conflicts.length > 0) return conflicts
    paths.set(claim.path, claim)
    for (const path of ancestorsOf(claim.path)) above.set(path, above.get(path) ?? claim)
    for (const host of claim.hosts) hosts.set(host, claim)
    return []
  })
}

/** Whether one of them has, for itself alone, something of the other. */
export function overlap(a: Claim, b: Claim): boolean {
  const isAtOrAbove = (path: string, other: string) => path === other || other.startsWith(`${path}/`)
  return (
    isAtOrAbove(a.path, b.path) ||
    isAtOrAbove(b.path, a.path) ||
    a.hosts.some((host) => b.hosts.includes(host))
  )
}

/** How a path stands to another one that it overlaps with, for people. */
export function tellOverlap(path: string, other: string, owner: string): string {
  if (path === other) return `${path} is the path of ${owner}`
  return `${path} lies ${path.startsWith(`${other}/`) ? 'below' : 'above'} ${other}, the path of ${owner}`
}

function isHeld<T, C extends { holder: T | undefined }>(claim: C): claim is C & { holder: NonNullable<T> } {
  return claim.holder !== undefined
}

/** `a/b/c` lies below `a/b` and `a`. */
export function ancestorsOf(path: string): string[] {
  const components = path.split('/')
  return components.slice(1).map((_, at) => components.slice(0, at + 1).join('/'))
}
