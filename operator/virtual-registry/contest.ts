import { ancestorsOf, type Claim, overlap } from './claims.ts'

/** One registry, with what it has and what it wants. */
export interface Contender {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  /** Sortable as text. */
  readonly creationTimestamp: string
  /** What the proxies serve of it now. */
  readonly held: Claim | undefined
  /** When what is served of it was made; sortable as text. */
  readonly heldSince?: string | undefined
  /** What its spec asks for and it may have; undefined where it may have nothing. */
  readonly wanted: Claim | undefined
  /** What it has is about to be free, and is not yet. */
  readonly isLeaving?: boolean
}

export type Contested =
  /** `at` is the path of the holder. */
  | { readonly path: string; readonly at: string; readonly holder: Contender }
  | { readonly host: string; readonly holder: Contender }

/**
 * What a contender cannot have, and who has it. Whoever is served keeps what it has; among those who come anew the older
 * goes first. A contender that does not get all it wants gets nothing of it, and keeps what it had.
 */
export function contest({ uid }: Contender, all: readonly Contender[]): Contested[] {
  return outcomesOf(all).get(uid) ?? []
}

/**
 * Whether a contender must let go of what it has, or it never gets what it wants: two that change places each wait for
 * the other. Nobody lets go for less, nor of what others leave in time by themselves or have let go of already.
 */
export function mustLetGo(contender: Contender, all: readonly Contender[]): boolean {
  if (contender.held === undefined || contender.wanted === undefined) return false
  const isSelf = ({ uid }: Contender) => uid === contender.uid
  const soon = all.map((each) => (each.isLeaving && !isSelf(each) ? { ...each, held: undefined } : each))
  if (!waitsForItself(contender, soon)) return false
  const near = thoseNear(contender, soon)
  const without = near.map((each) => (isSelf(each) ? { ...each, held: undefined } : each))
  return isServedInTheEnd(contender, without)
}

/** As many as may wait for each other in a row: the work grows with it. */
const mostRounds = 20

/** Whether those it waits for wait, the last of them, for what it has: then none of them ever moves. */
function waitsForItself({ uid }: Contender, all: readonly Contender[]): boolean {
  const outcomes = outcomesOf(all)
  const reached = new Set<string>()
  let last = [uid]
  for (let round = 0; round < mostRounds && !reached.has(uid); round++) {
    const holders = last.flatMap((each) => outcomes.get(each) ?? []).map(({ holder }) => holder.uid)
    last = [...new Set(holders)].filter((each) => !reached.has(each))
    for (const each of last) reached.add(each)
  }
  return reached.has(uid)
}

/** Those that it meets, or meets by way of others, with what they have and want: nobody else changes anything for it. */
function thoseNear(contender: Contender, all: readonly Contender[]): Contender[] {
  const claimsOf = ({ held, wanted }: Contender) => [held, wanted].filter((claim) => claim !== undefined)
  const near = all.filter(({ uid }) => uid === contender.uid)
  let others = all.filter(({ uid }) => uid !== contender.uid)
  for (const each of near) {
    const claims = claimsOf(each)
    const meets = (other: Contender) => claimsOf(other).some((a) => claims.some((b) => overlap(a, b)))
    const found = others.filter(meets)
    if (found.length === 0) continue
    near.push(...found) // which are looked at in their turn
    const known = new Set(found)
    others = others.filter((other) => !known.has(other))
  }
  return near
}

/** Whether it gets what it wants when all take, again and again, what they can have. */
function isServedInTheEnd({ uid }: Contender, all: readonly Contender[]): boolean {
  let before = all
  for (let round = 0; round < mostRounds; round++) {
    const outcomes = outcomesOf(before)
    const isServed = (each: Pick<Contender, 'uid'>) => outcomes.get(each.uid)?.length === 0
    if (isServed({ uid })) return true
    const after = before.map((each) => (isServed(each) ? { ...each, held: each.wanted } : each))
    if (after.every(({ held }, at) => held === before[at]!.held)) return false
    before = after
  }
  return false
}

/** Whether another is served there already, as after a write that came late: no two may have one path. */
export function isSecond(contender: Contender, all: readonly Contender[]): boolean {
  return contender.held !== undefined && heldGround(all).taken(contender, contender.held).length > 0
}

function heldGround(all: readonly Contender[]): ReturnType<typeof createGround> {
  const ground = createGround()
  for (const each of all.filter(({ held }) => held).toSorted(byHold)) {
    if (each.held && ground.taken(each, each.held).length === 0) ground.take(each, each.held)
  }
  return ground
}

/** For each that wants something what it cannot have, by its uid. */
function outcomesOf(all: readonly Contender[]): ReadonlyMap<string, Contested[]> {
  const ground = heldGround(all)
  const outcomes = new Map<string, Contested[]>()
  for (const each of all.toSorted(byAge)) {
    if (each.wanted === undefined) continue
    const taken = ground.taken(each, each.wanted)
    outcomes.set(each.uid, taken)
    if (taken.length === 0) ground.take(each, each.wanted)
  }
  return outcomes
}

/** Who wants to stay goes before who wants to be elsewhere. */
function byHold(a: Contender, b: Contender): number {
  const stays = Number(wantsToStay(b)) - Number(wantsToStay(a))
  return stays || compare(a.heldSince ?? '', b.heldSince ?? '') || byAge(a, b)
}

function wantsToStay({ held, wanted }: Contender): boolean {
  return held?.path === wanted?.path && held?.hosts.join() === wanted?.hosts.join()
}

function byAge(a: Contender, b: Contender): number {
  return compare(a.creationTimestamp, b.creationTimestamp) || compare(a.uid, b.uid)
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

interface Taken {
  readonly owner: Contender
  readonly claim: Claim
}

/** Who has which paths and hosts; of one contender several claims may overlap. */
function createGround() {
  const at = new Map<string, Taken[]>()
  const below = new Map<string, Taken[]>()
  const hosts = new Map<string, Taken[]>()
  const add = (map: Map<string, Taken[]>, key: string, taken: Taken) => {
    const known = map.get(key)
    if (known === undefined) map.set(key, [taken])
    else known.push(taken)
  }
  const another = (known: readonly Taken[] | undefined, self: Contender) =>
    known?.find(({ owner }) => owner.uid !== self.uid)

  return {
    take(owner: Contender, claim: Claim): void {
      add(at, claim.path, { owner, claim })
      for (const path of ancestorsOf(claim.path)) add(below, path, { owner, claim })
      for (const host of claim.hosts) add(hosts, host, { owner, claim })
    },
    taken(self: Contender, { path, hosts: wanted }: Claim): Contested[] {
      const above = [path, ...ancestorsOf(path)].map((each) => another(at.get(each), self))
      const found = above.find((each) => each !== undefined) ?? another(below.get(path), self)
      const ofHosts = wanted.flatMap((host) => {
        const taken = another(hosts.get(host), self)
        return taken === undefined ? [] : [{ host, holder: taken.owner }]
      })
      if (found === undefined) return ofHosts
      return [{ path, at: found.claim.path, holder: found.owner }, ...ofHosts]
    },
  }
}
