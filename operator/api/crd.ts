import { z } from 'zod'
import { unseen } from './condition.ts'
import { group, type Kind, version } from './kinds.ts'
import type { Rule } from './object.ts'
import { celPattern } from './patterns.ts'

/** A structural schema, as a CRD has them. */
export interface Schema {
  readonly type: string
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly additionalProperties?: Schema
  readonly required?: readonly string[]
  readonly default?: unknown
  readonly 'x-kubernetes-validations'?: readonly Rule[]
  readonly [word: string]: unknown
}

/**
 * The CustomResourceDefinition of a kind. What zod says with a message of ours becomes a rule in CEL with that message,
 * as the API server's own words for it are a regular expression; the rest becomes keywords. Lists that are empty by default
 * have no default here: absent is the same, and `kubectl get -o yaml` is not filled with them.
 */
export function createCrd({ kind, plural, singular, shortName, schema, status, columns, ...rest }: Kind) {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${plural}.${group}`,
      labels: { 'app.kubernetes.io/name': 'headwater', 'app.kubernetes.io/part-of': 'headwater' },
    },
    spec: {
      group,
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular,
        shortNames: [shortName],
        categories: ['headwater'],
      },
      scope: 'Namespaced',
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns.map(({ wide, ...column }) => ({
            ...column,
            ...(wide && { priority: 1 }),
          })),
          selectableFields: rest.selectableFields.map((jsonPath) => ({ jsonPath })),
          schema: { openAPIV3Schema: rootSchema(schema, status) },
        },
      ],
    },
  }
}

/** The API server has its own mind about apiVersion, kind and metadata, except for the length of a name. */
function rootSchema(schema: z.ZodObject, status: z.ZodObject): Schema {
  const { properties, required, description, ...root } = structuralSchema(schema)
  const { spec, metadata } = properties ?? {}
  const name = metadata?.properties?.name
  if (spec === undefined || name === undefined) throw new Error('a kind has metadata.name and a spec')
  return {
    description: description ?? '',
    ...root,
    ...(required?.includes('spec') && { required: ['spec'] }),
    properties: {
      apiVersion: {
        type: 'string',
        description: `Version of the schema of this object: ${group}/${version}.`,
      },
      kind: { type: 'string', description: 'Kind of the object.' },
      metadata: { type: 'object', properties: { name: { type: 'string', maxLength: name.maxLength } } },
      spec,
      status: inOrder({
        ...structuralSchema(status),
        description: 'What the operator and the proxies make of it. Written by them only.',
        default: unseen,
      }),
    },
  }
}

/** A zod schema as the API server reads it. Throws where a rule of zod would be silently lost. */
export function structuralSchema(schema: z.ZodType): Schema {
  refuseLostRules(schema, '')
  const { $schema: _, ...json } = z.toJSONSchema(schema, {
    target: 'openapi-3.0',
    io: 'input',
    override: ({ zodSchema, jsonSchema }) => adjust(zodSchema, jsonSchema),
  })
  return inOrder(withoutRepeating(json as unknown as Schema))
}

/** Moves the rules of what must not be repeated to the object around it. */
function withoutRepeating({ properties, items, ...schema }: Schema): Schema {
  const lifted: Rule[] = []
  const fields = Object.entries(properties ?? {}).map(([name, field]) => {
    const { 'never-repeated': isMarked, 'x-kubernetes-validations': rules = [], ...rest } = field
    if (!isMarked) return [name, withoutRepeating(field)]
    lifted.push(...rules.map((rule) => ofField(name, rule, schema.required?.includes(name) ?? false)))
    return [name, withoutRepeating(rest as Schema)]
  })
  const rules = [...lifted, ...(schema['x-kubernetes-validations'] ?? [])]
  return {
    ...(schema as Schema),
    ...(properties && { properties: Object.fromEntries(fields) }),
    ...(items && { items: withoutRepeating(items) }),
    ...(rules.length > 0 && { 'x-kubernetes-validations': rules }),
  }
}

function ofField(name: string, { rule, message, messageExpression }: Rule, isRequired: boolean): Rule {
  const inField = (expression: string) => expression.replaceAll(/\bself\b/g, `self.${name}`)
  return {
    rule: isRequired ? inField(rule) : `!has(self.${name}) || ${inField(rule)}`,
    message,
    ...(messageExpression && { messageExpression: inField(messageExpression) }),
    fieldPath: `.${name}`,
  }
}

const order = ['description', 'type', 'format', 'default', 'enum']
const last = ['required', 'properties', 'items', 'additionalProperties', 'x-kubernetes-validations']

/** The same schema with its words in one order, as a person would write them. */
function inOrder(schema: Schema): Schema {
  const rank = (word: string) => {
    if (last.includes(word)) return 100 + last.indexOf(word)
    return order.includes(word) ? order.indexOf(word) : 50
  }
  const words = Object.entries(schema).sort(([a], [b]) => rank(a) - rank(b))
  return Object.fromEntries(words.map(([word, value]) => [word, inner(word, value)])) as Schema
}

function inner(word: string, value: unknown): unknown {
  if (word === 'items' || word === 'additionalProperties') return inOrder(value as Schema)
  if (word !== 'properties') return value
  const fields = Object.entries(value as Record<string, Schema>)
  return Object.fromEntries(fields.map(([name, field]) => [name, inOrder(field)]))
}

function adjust({ _zod }: z.core.$ZodType, json: z.core.JSONSchema.BaseSchema): void {
  const { checks = [] } = _zod.def as { checks?: readonly z.core.$ZodCheck[] }
  const told = checks.map(tellInCel).filter((each) => each !== undefined)
  for (const { keyword } of told) delete json[keyword]
  const known = (json['x-kubernetes-validations'] ?? []) as readonly Rule[]
  const missing = told.filter(({ rule }) => known.every((other) => other.rule !== rule.rule))
  const rules = [...missing.map(({ rule }) => rule), ...known]
  if (rules.length > 0) json['x-kubernetes-validations'] = rules

  if (Array.isArray(json.default) && json.default.length === 0) delete json.default
  // what says no more than the format does
  if (json.format === 'date-time') delete json.pattern
  if (Math.abs(json.maximum ?? 0) === Number.MAX_SAFE_INTEGER) delete json.maximum
  if (json.type === 'integer') json.format ??= 'int32'
}

/** A check that has a message of its own, as a rule with it, and the keyword that the rule replaces. */
function tellInCel({ _zod }: z.core.$ZodCheck): { keyword: string; rule: Rule } | undefined {
  const def = _zod.def as z.core.$ZodCheckDef & { pattern?: RegExp; minimum?: number; value?: number }
  const message = def.error?.({ input: undefined } as never)
  if (typeof message !== 'string') return undefined
  switch (def.check) {
    case 'string_format':
      return { keyword: 'pattern', rule: { rule: `self.matches(${celPattern(def.pattern!)})`, message } }
    case 'greater_than':
      return { keyword: 'minimum', rule: { rule: `self >= ${def.value}`, message } }
    case 'min_length':
      return { keyword: 'minItems', rule: { rule: `size(self) >= ${def.minimum}`, message } }
    default:
      // the most there may be must stay a keyword: it bounds what rules cost
      return undefined
  }
}

interface Definition {
  readonly checks?: readonly z.core.$ZodCheck[]
  readonly innerType?: z.ZodType
  readonly element?: z.ZodType
  readonly valueType?: z.ZodType
  readonly shape?: Readonly<Record<string, z.ZodType>>
}

/** JSON schema has no word for a refinement, so zod leaves it out without one. */
function refuseLostRules(schema: z.ZodType, place: string): void {
  const def = schema._zod.def as Definition
  const refinements = (def.checks ?? []).filter(({ _zod }) => _zod.def.check === 'custom')
  const rules = (schema.meta()?.['x-kubernetes-validations'] ?? []) as readonly Rule[]
  if (refinements.length > rules.length) throw new Error(`${place}: a rule for zod alone; use withRule`)
  for (const inner of [def.innerType, def.element, def.valueType]) if (inner) refuseLostRules(inner, place)
  for (const [name, field] of Object.entries(def.shape ?? {})) refuseLostRules(field, `${place}.${name}`)
}
