import type { z } from 'zod'
import { CleanupPolicy, CleanupPolicyStatus } from './cleanup-policy.ts'
import { Upstream, UpstreamStatus } from './upstream.ts'
import { VirtualRegistry, VirtualRegistryStatus } from './virtual-registry.ts'

export const group = 'headwater.dev'
export const version = 'v1alpha1'

/** A column of `kubectl get`; `wide` ones are only shown by `-o wide`. */
export interface Column {
  readonly name: string
  readonly type: 'string' | 'integer' | 'date'
  readonly description: string
  readonly jsonPath: string
  readonly wide?: true
}

/** All that the API server is told of a kind. */
export interface Kind {
  readonly kind: string
  readonly plural: string
  readonly singular: string
  readonly shortName: string
  /** apiVersion, kind, metadata and spec; what cannot be read by it is answered with a condition, never with a crash. */
  readonly schema: z.ZodObject
  readonly status: z.ZodObject
  readonly columns: readonly Column[]
  /** What `--field-selector` may ask for. */
  readonly selectableFields: readonly string[]
}

const ready = condition('Ready', 'Ready')
const why: readonly Column[] = [
  {
    name: 'Reason',
    type: 'string',
    description: 'Why it is ready or not, as one word.',
    jsonPath: '.status.conditions[?(@.type=="Ready")].reason',
  },
  {
    name: 'Message',
    type: 'string',
    description: 'Why it is ready or not, as a sentence.',
    jsonPath: '.status.conditions[?(@.type=="Ready")].message',
    wide: true,
  },
]
const age: Column = {
  name: 'Age',
  type: 'date',
  description: 'How long ago it was made.',
  jsonPath: '.metadata.creationTimestamp',
}

export const virtualRegistryKind: Kind = {
  kind: 'VirtualRegistry',
  plural: 'virtualregistries',
  singular: 'virtualregistry',
  shortName: 'vreg',
  schema: VirtualRegistry,
  status: VirtualRegistryStatus,
  columns: [
    ready,
    {
      name: 'URL',
      type: 'string',
      description: 'Where it is served.',
      jsonPath: '.status.url',
    },
    {
      name: 'Upstreams',
      type: 'integer',
      description: 'How many upstreams it has.',
      jsonPath: '.status.upstreamCount',
    },
    {
      name: 'Serving',
      type: 'string',
      description: 'Enabled or Disabled.',
      jsonPath: '.spec.serving',
      wide: true,
    },
    { ...condition('Programmed', 'Programmed'), wide: true },
    ...why,
    age,
  ],
  selectableFields: ['.spec.path', '.spec.serving'],
}

export const upstreamKind: Kind = {
  kind: 'Upstream',
  plural: 'upstreams',
  singular: 'upstream',
  shortName: 'ups',
  schema: Upstream,
  status: UpstreamStatus,
  columns: [
    ready,
    condition('Reachable', 'Reachable'),
    { name: 'URL', type: 'string', description: 'Address of the registry.', jsonPath: '.spec.url' },
    { name: 'Mode', type: 'string', description: 'Active or CacheOnly.', jsonPath: '.spec.mode', wide: true },
    { ...condition('Credentials', 'CredentialsValid'), wide: true },
    {
      name: 'Entries',
      type: 'integer',
      description: 'How many tags and manifests are cached.',
      jsonPath: '.status.cache.entries',
    },
    {
      name: 'Bytes',
      type: 'integer',
      description: 'How many bytes are cached.',
      jsonPath: '.status.cache.bytes',
      wide: true,
    },
    ...why,
    age,
  ],
  selectableFields: ['.spec.url', '.spec.credentialsSecretRef.name', '.spec.mode'],
}

export const cleanupPolicyKind: Kind = {
  kind: 'CleanupPolicy',
  plural: 'cleanuppolicies',
  singular: 'cleanuppolicy',
  shortName: 'cpol',
  schema: CleanupPolicy,
  status: CleanupPolicyStatus,
  columns: [
    ready,
    {
      name: 'Cadence',
      type: 'string',
      description: 'How often it runs.',
      jsonPath: '.spec.schedule.cadence',
    },
    { name: 'Mode', type: 'string', description: 'Delete or DryRun.', jsonPath: '.spec.mode' },
    {
      name: 'Suspended',
      type: 'string',
      description: 'Whether no further run begins.',
      jsonPath: '.spec.suspend',
    },
    {
      name: 'Last Run',
      type: 'date',
      description: 'How long ago the last run began.',
      jsonPath: '.status.lastRun.startTime',
    },
    {
      name: 'Deleted',
      type: 'integer',
      description: 'How many tags and manifests it deleted.',
      jsonPath: '.status.lastRun.deleted',
    },
    {
      name: 'Next Run',
      type: 'string',
      description: 'When the next run begins.',
      jsonPath: '.status.nextRunTime',
      wide: true,
    },
    ...why,
    age,
  ],
  selectableFields: ['.spec.mode', '.spec.suspend'],
}

export const kinds: readonly Kind[] = [virtualRegistryKind, upstreamKind, cleanupPolicyKind]

function condition(name: string, type: string): Column {
  return {
    name,
    type: 'string',
    description: `Status of the condition ${type}.`,
    jsonPath: `.status.conditions[?(@.type=="${type}")].status`,
  }
}
