import type { z } from 'zod'

export interface FieldProblem {
  readonly path: readonly (string | number)[]
  /** What was expected. Never what was found there: it may be secret. */
  readonly message: string
}

export type Parsed<T> =
  | { readonly value: T; readonly problems?: undefined }
  | { readonly value?: undefined; readonly problems: readonly FieldProblem[] }

/**
 * Reads a resource by its schema, defaults filled in; all problems at once. Unknown fields are dropped, and a field
 * that is null is not there, as for an API server.
 */
export function parseResource<T extends z.ZodType>(schema: T, value: unknown): Parsed<z.output<T>> {
  const parsed = schema.safeParse(withoutNulls(value), { error: explain })
  if (parsed.success) return { value: parsed.data }
  return {
    problems: parsed.error.issues.map(({ path, message }) => ({
      path: path.map((step) => (typeof step === 'symbol' ? String(step) : step)),
      message,
    })),
  }
}

/** `spec.upstreams[0].upstreamRef.name`; keys that hold a dot are quoted. */
export function formatField(path: readonly (string | number)[]): string {
  return path
    .map((step, at) => {
      if (typeof step === 'number') return `[${step}]`
      if (!/^[\w-]+$/.test(step)) return `[${JSON.stringify(step)}]`
      return at === 0 ? step : `.${step}`
    })
    .join('')
}

/** Items of lists stay: there a null is a mistake. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, field]) => (field === null ? [] : [[key, withoutNulls(field)]])),
  )
}

function explain(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'required' : explainType(issue.expected, issue.input)
    case 'invalid_value':
      return issue.input === undefined ? 'required' : `expected ${alternatives(issue.values.map(String))}`
    case 'too_small':
      return `expected at least ${issue.minimum}${unitOf(issue.origin, issue.minimum)}`
    case 'too_big':
      return `expected at most ${issue.maximum}${unitOf(issue.origin, issue.maximum)}`
    default:
      return issue.message ?? 'is not valid'
  }
}

export function alternatives(words: readonly string[]): string {
  if (words.length < 2) return words.join('')
  return `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}

const typeNames: Readonly<Record<string, string>> = {
  array: 'a list',
  boolean: 'true or false',
  int: 'a whole number',
  object: 'an object',
  record: 'an object',
}

function explainType(expected: string, input: unknown): string {
  const nameOf = (type: string) => typeNames[type] ?? `a ${type}`
  const wanted = `expected ${nameOf(expected)}`
  if (input === null) return `${wanted}, found nothing`
  const found = nameOf(Array.isArray(input) ? 'array' : typeof input)
  const isUnquoted = expected === 'string' && typeof input !== 'object'
  return `${wanted}, found ${found}${isUnquoted ? '; put it in quotes' : ''}`
}

function unitOf(origin: string, count: number | bigint): string {
  if (origin === 'array') return count === 1 ? ' item' : ' items'
  return origin === 'string' ? ' characters' : ''
}
