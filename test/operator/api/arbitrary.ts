import fc from 'fast-check'
import type { Schema } from '../../../operator/api/crd.ts'
import type { Rule } from '../../../operator/api/object.ts'

/**
 * Values that a schema mostly accepts: what is optional is left out or not, texts follow the pattern of the schema's
 * rules. Rules over several fields are not looked at.
 */
export function sampleOf(schema: Schema, rules = rulesOf(schema)): fc.Arbitrary<unknown> {
  if (Array.isArray(schema.enum)) return fc.constantFrom(...(schema.enum as unknown[]))
  switch (schema.type) {
    case 'object':
      return schema.additionalProperties ? mapOf(schema.additionalProperties) : objectOf(schema)
    case 'array': {
      const items = sampleOf(schema.items!)
      return fc.array(items, { minLength: 1, maxLength: 3, size: 'max' })
    }
    case 'integer': {
      const max = (schema.maximum as number | undefined) ?? 2 ** 31 - 1
      return fc.oneof(fc.integer({ min: 1, max }), fc.constantFrom(1, max))
    }
    case 'boolean':
      return fc.boolean()
    default:
      return textOf(schema, rules)
  }
}

function rulesOf(schema: Schema): readonly Rule[] {
  return schema['x-kubernetes-validations'] ?? []
}

function objectOf({ properties = {}, required = [], ...schema }: Schema): fc.Arbitrary<unknown> {
  const fields = Object.entries(properties).map(([name, field]) => {
    const lifted = rulesOf(schema as Schema).filter(({ fieldPath }) => fieldPath === `.${name}`)
    return [name, sampleOf(field, [...lifted, ...rulesOf(field)])]
  })
  return fc.record(Object.fromEntries(fields) as Record<string, fc.Arbitrary<unknown>>, {
    requiredKeys: [...required],
  })
}

function mapOf(values: Schema): fc.Arbitrary<unknown> {
  const key = fc.constantFrom('team', 'example.com/team', 'a', 'A_b.c')
  return fc.dictionary(key, sampleOf(values), { maxKeys: 3 })
}

function textOf(schema: Schema, rules: readonly Rule[]): fc.Arbitrary<string> {
  const patterns = rules.map(({ rule }) => /^self(?:\.\w+)?\.matches\(r'(.*)'\)$/.exec(rule)?.[1])
  const pattern = patterns.find((text) => text !== undefined)
  const maxLength = (schema.maxLength as number | undefined) ?? 64
  return pattern === undefined
    ? fc.string({ maxLength })
    : fc.stringMatching(new RegExp(pattern), { maxLength })
}

type Path = readonly (string | number)[]

/** Everything in a value that can be changed, itself left out. */
function pathsOf(value: unknown, path: Path = []): Path[] {
  const inner = isContainer(value)
    ? Object.entries(value).flatMap(([key, field]) =>
        pathsOf(field, [...path, Array.isArray(value) ? Number(key) : key]),
      )
    : []
  return path.length === 0 ? inner : [path, ...inner]
}

function isContainer(value: unknown): value is Record<string, unknown> | unknown[] {
  return typeof value === 'object' && value !== null
}

const gone = Symbol('gone')

/** What a value may become: mostly no longer what its schema wants, sometimes at the very edge of it. */
function changesOf(value: unknown): unknown[] {
  const other = [null, gone, '', 0, false, [], {}, 'x', [null], { a: 1 }]
  if (typeof value === 'string') {
    const lengths = [63, 64, 128, 129, 253, 254, 255, 256].map((length) => value.padEnd(length, 'a'))
    const edits = [value.toUpperCase(), `${value} `, `${value}\n`, `é${value}`, `${value}/`, `${value}//b`]
    const more = [
      `${value}.`,
      `-${value}`,
      `${value}:1`,
      `${value}:65536`,
      `${value}?`,
      `${value}😀`,
      `${value}/v2`,
    ]
    return [...other, ...lengths, ...edits, ...more, 'https://a', 'http://a', 'v2', 'https://u:p@a', '\u0000']
  }
  if (typeof value === 'number') return [...other, value + 0.5, -value, 2 ** 31, 365, 366, 1, String(value)]
  if (Array.isArray(value)) {
    const [first] = value
    const lengths = [2, 10, 11, 20, 21, 50, 51].map((length) => Array.from({ length }, () => first))
    return [...other, ...lengths]
  }
  return other
}

export interface Change {
  readonly place: number
  readonly way: number
}

export const changes: fc.Arbitrary<readonly Change[]> = fc.array(
  fc.record({ place: fc.nat(10_000), way: fc.nat(10_000) }),
  { maxLength: 2 },
)

/** The value with some of its parts changed. */
export function change(value: unknown, [first, ...rest]: readonly Change[]): unknown {
  const paths = pathsOf(value)
  if (first === undefined || paths.length === 0) return value
  const path = paths[first.place % paths.length]!
  const copy = structuredClone(value)
  const parent = path.slice(0, -1).reduce((node, key) => (node as never)[key], copy) as Record<
    string,
    unknown
  >
  const key = path.at(-1) as string
  const ways = changesOf(parent[key])
  const next = ways[first.way % ways.length]
  if (next !== gone) parent[key] = next
  else if (Array.isArray(parent)) parent.splice(Number(key), 1)
  else delete parent[key]
  return change(copy, rest)
}
