import { z } from 'zod'

/** metav1.Condition, field by field. */
const Condition = z
  .object({
    type: z
      .string()
      .max(316)
      .regex(
        /^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$/,
      )
      .meta({ description: 'What the condition is about, in CamelCase.' }),
    status: z.enum(['True', 'False', 'Unknown']).meta({ description: 'Whether it holds.' }),
    observedGeneration: z
      .int()
      .min(0)
      .optional()
      .meta({ format: 'int64', description: 'The metadata.generation that this was said of.' }),
    lastTransitionTime: z.iso.datetime().meta({ description: 'When its status last changed.' }),
    reason: z
      .string()
      .min(1)
      .max(1024)
      .regex(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/)
      .meta({ description: 'Why, as one word in CamelCase.' }),
    message: z.string().max(32768).meta({ description: 'Why, as a sentence. May be empty.' }),
  })
  .meta({ description: 'One aspect of the state of the object.' })
export type Condition = Readonly<z.infer<typeof Condition>>

/** What the status of every kind begins with. */
export const commonStatus = {
  observedGeneration: z.int().min(-1).optional().meta({
    format: 'int64',
    description: 'The metadata.generation that this status was made from; -1 until there is one.',
  }),
  conditions: z
    .array(Condition)
    .max(16)
    .optional()
    .meta({
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['type'],
      description: 'The state of the object, one entry for each aspect of it.',
    }),
  lastHandledReconcileAt: z.string().max(253).optional().meta({
    description: 'The value of the annotation headwater.dev/reconcile-requested-at that was last acted upon.',
  }),
}

/** Until the operator has seen an object, its status must not look as if all were well: kstatus reads this as work in progress. */
export const unseen = { observedGeneration: -1 } as const

/** A number of things or of bytes: never a list of them. */
export function count(description: string) {
  return z.int().min(0).optional().meta({ format: 'int64', description })
}

export function time(description: string) {
  return z.iso.datetime().optional().meta({ description })
}
