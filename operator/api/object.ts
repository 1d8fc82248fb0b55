import { z } from 'zod'
import { dataKeyPattern, globPattern, namespacePattern, objectNamePattern } from './patterns.ts'

export const apiVersion = 'headwater.dev/v1alpha1'

/** Says to which host the name and password of a basic-auth Secret may be sent. */
export const registryHostAnnotation = 'headwater.dev/registry-host'

/** On a Secret: its credentials may be sent over http:// to another machine. */
export const allowPlainHttpAnnotation = 'headwater.dev/allow-plain-http'

/** On any object of ours: whoever writes another value into it has the object looked at anew. */
export const reconcileRequestedAnnotation = 'headwater.dev/reconcile-requested-at'

const objectNameOf = (length: number) =>
  z
    .string()
    .max(length)
    .regex(objectNamePattern, { error: 'expected lower-case letters, digits, "-" and "."' })

export const objectName = objectNameOf(253)

/** Of our own kinds: short enough to be the value of a label, and for two of them to make a path. */
export const ownName = objectNameOf(63)

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
export const OwnMetadata = Metadata.extend({
  name: ownName.meta({ description: 'Name of the object, unique for its kind in its namespace.' }),
}).meta({ description: 'Name, namespace, labels and annotations.' })
export type Metadata = Readonly<z.infer<typeof Metadata>>

/** References are replaced whole by whoever writes them. */
export const atomicMap = { 'x-kubernetes-map-type': 'atomic' } as const

export const LocalObjectRef = z
  .object({ name: objectName.meta({ description: 'Name of an object in the same namespace.' }) })
  .meta(atomicMap)

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

/** A rule beyond what a schema can say, as the API server reads it. */
export interface Rule {
  /** In CEL; it holds for what is valid. */
  readonly rule: string
  /** What to write instead. */
  readonly message: string
  /** In CEL: a message that depends on the value. `message` is for where it fails. */
  readonly messageExpression?: string
  /** The field to blame, such as `.tls`, where it is not the whole value. */
  readonly fieldPath?: string
}

/** For `meta`: the API server repeats a text that it refuses, but not where the rule is one of the object around it. */
export const neverRepeated = { 'never-repeated': true } as const

/**
 * A rule twice: in CEL for the API server, and for zod, with one message. Both must accept the same. Goes last, as it
 * carries the description.
 */
export function withRule<T extends z.ZodType>(
  schema: T,
  rule: Rule,
  holds: (value: z.output<T>) => boolean,
  explain: (value: unknown) => string = () => rule.message,
): T {
  const meta = schema.meta() ?? {}
  const earlier = (meta['x-kubernetes-validations'] ?? []) as readonly Rule[]
  const path = rule.fieldPath?.split('.').filter((name) => name !== '')
  return schema
    .refine(holds, { error: ({ input }) => explain(input), ...(path && { path }) })
    .meta({ ...meta, 'x-kubernetes-validations': [...earlier, rule] })
}

/** Lists are replaced whole by whoever writes them: two field managers never interleave. */
export const atomicList = { 'x-kubernetes-list-type': 'atomic' } as const

export function isUnique(values: readonly string[]): boolean {
  return new Set(values).size === values.length
}
