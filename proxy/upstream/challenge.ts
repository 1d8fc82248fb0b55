/** One challenge of a `WWW-Authenticate` header; scheme and names of parameters in lower case. */
export interface Challenge {
  readonly scheme: string
  readonly parameters: ReadonlyMap<string, string>
}

const longestHeader = 8192
const token = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y
const quoted = /"((?:[^"\\]|\\.)*)"/sy
const equals = /[ \t]*=[ \t]*/y
const separator = /[ \t,]*/y
const token68 = /[ \t]+[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|$))/y

/**
 * Reads any number of headers with any number of challenges each (RFC 9110, 11.6.1). What follows a mistake is left
 * out, and so is a challenge that says anything twice: it could be read in two ways.
 */
export function parseChallenges(headers: readonly string[]): Challenge[] {
  return headers.flatMap((header) => (header.length > longestHeader ? [] : parseHeader(header)))
}

interface Draft {
  readonly scheme: string
  readonly parameters: Map<string, string>
  ambiguous: boolean
}

function parseHeader(text: string): Challenge[] {
  const drafts: Draft[] = []
  const take = createTaker(text)
  take(separator)
  for (let word = take(token); word !== undefined; word = take(token)) {
    const draft = drafts.at(-1)
    if (draft && take(equals) !== undefined) {
      const value = take(quoted)?.replace(/\\(.)/gs, '$1') ?? take(token)
      if (value === undefined) {
        drafts.pop()
        break
      }
      draft.ambiguous ||= draft.parameters.has(word.toLowerCase())
      draft.parameters.set(word.toLowerCase(), value)
    } else {
      drafts.push({ scheme: word.toLowerCase(), parameters: new Map(), ambiguous: false })
      take(token68)
    }
    take(separator)
  }
  return drafts.flatMap(({ scheme, parameters, ambiguous }) => (ambiguous ? [] : [{ scheme, parameters }]))
}

/** Takes what a sticky pattern matches at the present place: its group, or all of it. */
function createTaker(text: string): (pattern: RegExp) => string | undefined {
  let at = 0
  return (pattern) => {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (!match) return undefined
    at = pattern.lastIndex
    return match[1] ?? match[0]
  }
}
