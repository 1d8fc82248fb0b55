import { z } from 'zod'
import { apiVersion, atomicList, Metadata } from './object.ts'

const UpstreamSelector = z.object({
  matchLabels: z
    .record(z.string().max(317), z.string().max(63))
    .optional()
    .meta({ description: 'Labels the Upstream must have.' }),
  matchExpressions: z
    .array(
      z
        .object({
          key: z.string().max(317).meta({ description: 'Key of the label.' }),
          operator: z
            .enum(['In', 'NotIn', 'Exists', 'DoesNotExist'])
            .meta({ description: 'How the label is compared.' }),
          values: z
            .array(z.string().max(63).meta({ description: 'A value of the label.' }))
            .max(50)
            .optional()
            .meta({ ...atomicList, description: 'Values for In and NotIn.' }),
        })
        .meta({ description: 'One requirement; all must hold.' }),
    )
    .max(20)
    .optional()
    .meta({ ...atomicList, description: 'Requirements on labels of the Upstream.' }),
})

const Schedule = z.object({
  cadence: z
    .enum(['Daily', 'Weekly', 'Monthly'])
    .default('Weekly')
    .meta({ description: 'How often it runs.' }),
  timeOfDay: z
    .string()
    .regex(/^([01][0-9]|2[0-3]):[0-5][0-9]$/, {
      error: 'expected hours and minutes in quotes, such as "03:00"',
    })
    .default('03:00')
    .meta({ description: 'From when it runs, as hh:mm.' }),
  timeZone: z
    .string()
    .max(64)
    .regex(/^[A-Za-z0-9_+-]+(\/[A-Za-z0-9_+-]+)*$/, {
      error: 'expected a name of the time zone database, such as Etc/UTC',
    })
    .default('Etc/UTC')
    .meta({ description: 'The time zone of timeOfDay.' }),
})

export const CleanupPolicy = z.object({
  apiVersion: z.literal(apiVersion).meta({ description: 'Group and version.' }),
  kind: z.literal('CleanupPolicy').meta({ description: 'Kind.' }),
  metadata: Metadata.meta({ description: 'Name, namespace, labels and annotations.' }),
  spec: z
    .object({
      upstreamSelector: UpstreamSelector.optional().meta({
        description: 'Upstreams whose cache is cleaned; without it, all of the namespace.',
      }),
      keepAfterDownloadDays: z
        .int32()
        .min(1)
        .max(365)
        .default(30)
        .meta({ description: 'How many days after its last download a cached image is kept.' }),
      schedule: Schedule.prefault({}).meta({ description: 'When it runs.' }),
      mode: z
        .enum(['Delete', 'DryRun'])
        .default('Delete')
        .meta({ description: 'DryRun: only say what would be deleted.' }),
      suspend: z.boolean().default(false).meta({ description: 'True: no further runs.' }),
    })
    .prefault({})
    .meta({ description: 'What is deleted, and when.' }),
})
export type CleanupPolicy = Readonly<z.infer<typeof CleanupPolicy>>
