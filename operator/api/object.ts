import { z } from 'zod'
import { dataKeyPattern, globPattern, namespacePattern, objectNamePattern } from './patterns.ts'

export const apiVersion = 'headwater.dev/v1alpha1'

/** Says to which host the name and password of a basic-auth Secret may be sent. */
export const registryHostAnnotation = 'headwater.dev/registry-host'

/** On a Secret: its credentials may be sent over http:// to another machine. */
export const allowPlainHttpAnnotation = 'headwater.dev/allow-plain-http'

export const objectName = z.string().max(253).regex(objectNamePattern, {
  error: 'expected lower-case letters, digits, "-" and "."',
})

export const Metadata = z.object({
  name: objectName.meta({ description: 'Name of the object, unique for its kind in its namespace.' }),
  namespace: z
    .string()
    .max(63)
    .regex(namespacePattern, { error: 'expected lower-case letters, digits and "-"' })
    .meta({ description: 'Namespace of the object.' }),
  labels: z.record(z.string(), z.string()).optional().meta({ description: 'Labels.' }),
  annotations: z.record(z.string(), z.string()).optional().meta({ description: 'Annotations.' }),
})
export type Metadata = Readonly<z.infer<typeof Metadata>>

export const LocalObjectRef = z.object({
  name: objectName.meta({ description: 'Name of an object in the same namespace.' }),
})

export const dataKey = z
  .string()
  .max(253)
  .regex(dataKeyPattern, { error: 'expected letters, digits, "-", "_" and "."' })

export const repositoryGlob = z
  .string()
  .max(255)
  .regex(globPattern, {
    error:
      'expected a glob over repository names: lower-case letters, digits, ".", "_", "-", "/", "*", "**", "?"',
  })
  .meta({
    description:
      'A glob over repository names: "*" is any run of characters without "/", "**" any run, "?" one character.',
  })

export interface Rule {
  /** The rule in CEL, for the API server. */
  readonly rule: string
  readonly message: string
}

/**
 * A rule beyond what the schema can say, once for zod and once, in CEL, for the API server, with one message. Both must
 * accept the same. Goes last, as it carries the description.
 */
export function withRule<T extends z.ZodType>(
  schema: T,
  { rule, message }: Rule,
  holds: (value: z.output<T>) => boolean,
): T {
  const meta = schema.meta() ?? {}
  const earlier = (meta['x-kubernetes-validations'] ?? []) as readonly Rule[]
  return schema
    .refine(holds, { error: message })
    .meta({ ...meta, 'x-kubernetes-validations': [...earlier, { rule, message }] })
}

/** Lists are replaced whole by whoever writes them: two field managers never interleave. */
export const atomicList = { 'x-kubernetes-list-type': 'atomic' } as const

export function isUnique(values: readonly string[]): boolean {
  return new Set(values).size === values.length
}
