/**
 * Globs over repository names: `**` is any run of characters, `*` any run without a slash, `?` one character that is no
 * slash; two stars between slashes may also be no component. Everything else is itself. True when any of them matches. Takes time in
 * proportion to name times glob, whatever they are: no user's pattern becomes a regular expression.
 */
export function compileGlobs(globs: readonly string[]): (name: string) => boolean {
  if (globs.includes('**')) return () => true
  const compiled = globs.map(tokensOf)
  return (name) => compiled.some((tokens) => matches(tokens, name))
}

/** What a glob in a resource may be made of; the schema uses it. */
export const globPattern = /^[a-z0-9._/*?-]+$/

function tokensOf(glob: string): string[] {
  return glob.replace(/\*{2,}/g, '**').match(/(?<=\/)\*\*\/|\*\*|[\s\S]/g) ?? []
}

/** Walks the name once, keeping the set of places in the glob that could be the next to match. */
function matches(tokens: readonly string[], name: string): boolean {
  let places = withSkippedStars(tokens, new Set([0]))
  for (const character of name) {
    const reached = new Set<number>()
    const inside = new Set<number>()
    for (const place of places) {
      const token = tokens[place]
      if (token === undefined) continue
      if (token === '**/') inside.add(place)
      else if (staysAt(token, character)) reached.add(place)
      if (passes(token, character)) reached.add(place + 1)
    }
    // once a component has begun, only its slash ends it: then it is no longer to be skipped
    places = new Set([...withSkippedStars(tokens, reached), ...inside])
  }
  return places.has(tokens.length)
}

function staysAt(token: string, character: string): boolean {
  return token === '**' || (token === '*' && character !== '/')
}

function passes(token: string, character: string): boolean {
  if (token === '**/') return character === '/'
  return token === '?' ? character !== '/' : token === character
}

/** A star may also stand for nothing. */
function withSkippedStars(tokens: readonly string[], places: Set<number>): Set<number> {
  for (const place of places) {
    if (tokens[place]?.startsWith('*')) places.add(place + 1)
  }
  return places
}
