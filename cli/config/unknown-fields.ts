import type { z } from 'zod'
import type { FieldProblem } from '../../operator/api/parse.ts'

/**
 * Fields a schema does not know, which zod drops and the API server prunes: here a person should hear of a misspelled
 * one. Lists the names that are known beside it.
 */
export function unknownFields(
  schema: z.core.$ZodType,
  value: unknown,
  path: readonly (string | number)[] = [],
): FieldProblem[] {
  const { def } = unwrap(schema)._zod as unknown as { def: Definition }
  if (def.type === 'array' && Array.isArray(value)) {
    return value.flatMap((item, at) => unknownFields(def.element, item, [...path, at]))
  }
  if (def.type !== 'object' || typeof value !== 'object' || value === null || Array.isArray(value)) return []

  const known = Object.keys(def.shape)
  return Object.entries(value).flatMap(([key, field]) => {
    const inner = Object.hasOwn(def.shape, key) ? def.shape[key] : undefined
    if (inner !== undefined) return unknownFields(inner, field, [...path, key])
    return [{ path: [...path, key], message: `unknown field; known here: ${known.join(', ')}` }]
  })
}

type Definition =
  | { readonly type: 'object'; readonly shape: Readonly<Record<string, z.core.$ZodType>> }
  | { readonly type: 'array'; readonly element: z.core.$ZodType }
  | { readonly type: 'other' }

/** What is inside of optional, default and prefault. */
function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  const { innerType } = schema._zod.def as { innerType?: z.core.$ZodType }
  return innerType === undefined ? schema : unwrap(innerType)
}
