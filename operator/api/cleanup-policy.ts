import { z } from 'zod'
import { commonStatus, count, time } from './condition.ts'
import { apiVersion, atomicList, atomicMap, OwnMetadata, withRule } from './object.ts'
import { celPattern, labelKeyPattern, labelValuePattern } from './patterns.ts'

const labelKey = z.string().max(317).regex(labelKeyPattern, {
  error: 'expected the key of a label, such as team or example.com/team',
})
const labelValue = z.string().max(63).regex(labelValuePattern, {
  error: 'expected the value of a label: letters, digits, "-", "_" and "."',
})

/** Keys of a map have no schema of their own in a CRD. */
const matchLabels = withRule(
  z
    .record(z.string(), labelValue.meta({ description: 'The value that the label must have.' }))
    .meta({ maxProperties: 20, description: 'Labels the Upstream must have, all of them.' }),
  {
    rule: `size(self) <= 20 && self.all(key, size(key) <= 317 && key.matches(${celPattern(labelKeyPattern)}))`,
    message: 'expected at most 20 keys of labels, such as team or example.com/team',
  },
  (labels) =>
    Object.keys(labels).length <= 20 &&
    Object.keys(labels).every((key) => key.length <= 317 && labelKeyPattern.test(key)),
)

const takesValues = (operator: string) => operator === 'In' || operator === 'NotIn'

const LabelRequirement = withRule(
  z
    .object({
      key: labelKey.meta({ description: 'Key of the label.' }),
      operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']).meta({
        description:
          'How the label is compared: its value is one of values (In) or none of them (NotIn), it is there (Exists) or not (DoesNotExist).',
      }),
      values: z
        .array(labelValue.meta({ description: 'A value of the label.' }))
        .max(50)
        .default([])
        .meta({ ...atomicList, description: 'Values for In and NotIn; for the others, none.' }),
    })
    .meta({ description: 'One requirement.' }),
  {
    rule: "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
    message: 'In and NotIn need values; Exists and DoesNotExist take none',
    fieldPath: '.values',
  },
  ({ operator, values }) => takesValues(operator) === values.length > 0,
)

const UpstreamSelector = z
  .object({
    matchLabels: matchLabels.optional(),
    matchExpressions: z
      .array(LabelRequirement)
      .max(20)
      .default([])
      .meta({
        ...atomicList,
        description: 'Requirements on labels of the Upstream, all of which must hold.',
      }),
  })
  .meta(atomicMap)

const Schedule = z.object({
  cadence: z.enum(['Daily', 'Weekly', 'Monthly']).default('Weekly').meta({
    description: 'How often it runs. The day of the week or month is chosen so that policies spread.',
  }),
  timeOfDay: z
    .string()
    .max(5)
    .regex(/^([01][0-9]|2[0-3]):[0-5][0-9]$/, {
      error: 'expected hours and minutes in quotes, such as "03:00"',
    })
    .default('03:00')
    .meta({ description: 'From when it runs, as hh:mm in quotes.' }),
  timeZone: z
    .string()
    .max(64)
    .regex(/^[A-Za-z0-9_+-]+(\/[A-Za-z0-9_+-]+)*$/, {
      error: 'expected a name of the time zone database, such as Etc/UTC',
    })
    .default('Etc/UTC')
    .meta({ description: 'The time zone of timeOfDay, by its name in the time zone database.' }),
})

export const CleanupPolicy = z
  .object({
    apiVersion: z.literal(apiVersion),
    kind: z.literal('CleanupPolicy'),
    metadata: OwnMetadata,
    spec: z
      .object({
        upstreamSelector: UpstreamSelector.optional().meta({
          description: 'Upstreams whose cache is cleaned, by their labels; without it, all of the namespace.',
        }),
        keepAfterDownloadDays: z
          .int32()
          .min(1)
          .max(365)
          .default(30)
          .meta({ description: 'How many days after its last download a cached image is kept.' }),
        schedule: Schedule.prefault({}).meta({ description: 'When it runs.' }),
        mode: z.enum(['Delete', 'DryRun']).default('Delete').meta({
          description: 'Delete, or DryRun: only count what would be deleted.',
        }),
        suspend: z
          .boolean()
          .default(false)
          .meta({ description: 'True: no further run begins; one that has begun goes on.' }),
      })
      .prefault({})
      .meta({ description: 'What is deleted, and when.' }),
  })
  .meta({ description: 'Deletes from the cache what was not downloaded for a while, on a schedule.' })
export type CleanupPolicy = Readonly<z.infer<typeof CleanupPolicy>>

export const CleanupPolicyStatus = z.object({
  ...commonStatus,
  nextRunTime: time('When the next run begins; absent while it is suspended.'),
  lastRun: z
    .object({
      startTime: time('When it began.'),
      completionTime: time('When it ended; absent while it runs.'),
      mode: z
        .enum(['Delete', 'DryRun'])
        .optional()
        .meta({ description: 'The mode it ran with: Delete or DryRun.' }),
      examined: count('How many tags and manifests were looked at.'),
      deleted: count('How many of them were deleted, or with DryRun would have been.'),
      freedBytes: count('How many bytes that freed, or with DryRun would have.'),
      failed: count('How many could not be deleted; the next run tries again.'),
    })
    .optional()
    .meta({ description: 'The last run that has begun.' }),
})
export type CleanupPolicyStatus = Readonly<z.infer<typeof CleanupPolicyStatus>>
