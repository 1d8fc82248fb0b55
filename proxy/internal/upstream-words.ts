import type { UpstreamRoute, UpstreamWord } from '../routes.ts'

/** What matters here of a failure to ask an upstream. */
export interface Trouble {
  readonly kind: string
  readonly message: string
}

/** An upstream, and the revision of the document it is from. */
export interface Used {
  readonly route: UpstreamRoute
  readonly revision: string
}

/** What this proxy last met with at each upstream, calm enough to be passed on. */
export interface UpstreamWords {
  /** One question was answered, or met with trouble. */
  tell(upstream: UpstreamRoute, trouble: Trouble | undefined): void
  /** Forgets what is not among these. */
  retain(upstreams: readonly Used[]): void
  /** By `<namespace>/<name>`. */
  read(): Readonly<Record<string, UpstreamWord>>
  /** When an upstream was last asked with the document that is served now, on the clock; undefined when it never was. */
  askedAt(key: string): number | undefined
}

/** Trouble after a good word counts when it comes again, and lasts: one lost packet is not an outage. */
const failuresToTurn = 3
const troubleToTurnMs = 5_000
/** A bad word that nobody repeated is no word. */
const badForMs = 15 * 60_000
const longestMessage = 300

interface Known {
  readonly word: UpstreamWord
  readonly askedAt: number
  /** Of the trouble that has not turned the word yet. */
  readonly failures: number
  readonly failingSince: number
}

/** `now` is a monotonic clock in milliseconds. */
export function createUpstreamWords({
  now,
  onChange,
}: {
  readonly now: () => number
  onChange(): void
}): UpstreamWords {
  const words = new Map<string, Known>()
  let served: ReadonlyMap<string, Used> = new Map()
  /** Also of those that are gone, for what is still asked with them. */
  const revisions = new WeakMap<UpstreamRoute, string>()
  let isTimed = false

  /** At the earliest when one of the bad words may run out: no other may do so before. */
  function expireIn(ms: number): void {
    if (isTimed) return
    isTimed = true
    setTimeout(expire, Math.max(1, ms)).unref()
  }

  function expire(): void {
    isTimed = false
    const bad = [...words].filter(([, { word }]) => !isGood(word))
    const left = bad.map(([key, { askedAt }]) => ({ key, ms: askedAt + badForMs - now() }))
    const over = left.filter(({ ms }) => ms <= 0)
    for (const { key } of over) words.delete(key)
    if (over.length < left.length) expireIn(Math.min(...left.flatMap(({ ms }) => (ms > 0 ? ms : []))))
    if (over.length > 0) onChange()
  }

  return {
    tell(upstream, trouble) {
      const key = keyOf(upstream)
      const used = served.get(key)
      if (used === undefined || revisions.get(upstream) !== used.revision) return
      const known = words.get(key)
      const next = hear(known, wordOf(used, trouble, known?.word), now())
      words.set(key, next)
      if (!isGood(next.word)) expireIn(badForMs)
      if (next.word !== known?.word) onChange()
    },
    retain(upstreams) {
      for (const { route, revision } of upstreams) revisions.set(route, revision)
      served = new Map(upstreams.map((used) => [keyOf(used.route), used]))
      for (const [key, { word }] of words) {
        if (served.get(key)?.route.id !== word.id) words.delete(key)
      }
    },
    read: () => Object.fromEntries([...words].map(([key, { word }]) => [key, word])),
    askedAt(key) {
      const known = words.get(key)
      return known?.word.revision === served.get(key)?.revision ? known?.askedAt : undefined
    },
  }
}

function wordOf(
  { route: { id }, revision }: Used,
  trouble: Trouble | undefined,
  last: UpstreamWord | undefined,
): UpstreamWord {
  if (trouble === undefined) return { id, revision }
  const message = trouble.message.slice(0, longestMessage)
  if (trouble.kind === 'credentials-refused') return { id, revision, refused: message }
  const refused = last?.revision === revision ? last.refused : undefined
  return { id, revision, trouble: { kind: trouble.kind, message }, ...(refused && { refused }) }
}

/** What is known after this was said. The word is the same object until it turns. */
function hear(known: Known | undefined, said: UpstreamWord, now: number): Known {
  const fresh = { word: said, askedAt: now, failures: 0, failingSince: now }
  if (known === undefined || known.word.revision !== said.revision) return fresh
  if (isSameWord(known.word, said)) return { ...known, askedAt: now, failures: 0 }
  const isNewTrouble = said.trouble !== undefined && known.word.trouble === undefined
  const failures = known.failures + 1
  const failingSince = known.failures === 0 ? now : known.failingSince
  const isPassing = failures < failuresToTurn && now - failingSince < troubleToTurnMs
  return isNewTrouble && isPassing ? { ...known, askedAt: now, failures, failingSince } : fresh
}

function keyOf({ namespace, name }: UpstreamRoute): string {
  return `${namespace}/${name}`
}

function isGood({ trouble, refused }: UpstreamWord): boolean {
  return trouble === undefined && refused === undefined
}

/** Messages of one kind may differ from one question to the next; the first one stands. */
function isSameWord(a: UpstreamWord, b: UpstreamWord): boolean {
  return a.trouble?.kind === b.trouble?.kind && (a.refused === undefined) === (b.refused === undefined)
}
