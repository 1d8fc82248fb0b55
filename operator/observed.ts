import { z } from 'zod'
import { RouteDocument, routeSecretKey } from '../proxy/routes.ts'
import type { Condition } from './api/condition.ts'
import type { ConfigMap, Secret } from './api/core.ts'
import {
  allowPlainHttpAnnotation,
  reconcileRequestedAnnotation,
  registryHostAnnotation,
} from './api/object.ts'
import { type FieldProblem, parseResource } from './api/parse.ts'
import { usableConfigMapValues, usableSecretValues } from './usable-values.ts'
import type { Claim } from './virtual-registry/claims.ts'

/** Of the metadata of any object, what decisions and writes need. */
export interface SeenMetadata {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly resourceVersion: string
  readonly generation: number
  /** Sortable as text. */
  readonly creationTimestamp: string
  /** Those alone that are read. */
  readonly annotations: Readonly<Record<string, string>>
  readonly isBeingDeleted: boolean
}

/** A custom object as it was seen: what is in it may be older than the schema and refused by it. */
export interface Seen<Resource> {
  readonly metadata: SeenMetadata
  /** Undefined when there are problems. */
  readonly resource: Resource | undefined
  readonly problems: readonly FieldProblem[]
  readonly status: { readonly conditions: readonly Condition[] } & Readonly<Record<string, unknown>>
}

export type SeenSecret = Secret & { readonly metadata: SeenMetadata }
export type SeenConfigMap = ConfigMap & { readonly metadata: SeenMetadata }

/** A Secret of the routes namespace. */
export interface SeenDocument {
  readonly metadata: SeenMetadata
  /** Whose document it says it is: its annotations, else what is in it. Undefined when neither does. */
  readonly owner: Owner | undefined
  /** Undefined when it cannot be read, as after going back to an older version. */
  readonly document: RouteDocument | undefined
  /** What it has for a registry alone, as far as that can be read: also of a document that cannot be. */
  readonly claim: Claim | undefined
}

export interface Owner {
  readonly kind: 'Upstream' | 'VirtualRegistry'
  readonly namespace: string
  readonly name: string
}

export function observeCustom<T extends z.ZodType>(schema: T, raw: unknown): Seen<z.output<T>> {
  // they may have 256 KiB, and kubectl keeps the whole object in one of them
  const { annotations: _annotations, ...metadata } = record(record(raw).metadata)
  const { value, problems = [] } = parseResource(schema, { ...record(raw), metadata })
  const { status } = record(raw)
  const { conditions } = record(status)
  return {
    metadata: observeMetadata(raw, [reconcileRequestedAnnotation]),
    resource: value,
    problems,
    status: { ...record(status), conditions: Array.isArray(conditions) ? (conditions as Condition[]) : [] },
  }
}

export function observeSecret(raw: unknown): SeenSecret {
  const { type, data } = record(raw)
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: observeMetadata(raw, [registryHostAnnotation, allowPlainHttpAnnotation]),
    type: String(type),
    data: usableSecretValues(String(type), texts(data)),
    stringData: {},
  }
}

export function observeConfigMap(raw: unknown): SeenConfigMap {
  const { data, binaryData } = record(raw)
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: observeMetadata(raw, []),
    ...usableConfigMapValues({ data: texts(data), binaryData: texts(binaryData) }),
  }
}

export const ownerAnnotations = {
  kind: 'headwater.dev/owner-kind',
  namespace: 'headwater.dev/owner-namespace',
  name: 'headwater.dev/owner-name',
} as const

export function observeDocument(raw: unknown): SeenDocument {
  const metadata = observeMetadata(raw, Object.values(ownerAnnotations))
  const { annotations } = metadata
  const kind = annotations[ownerAnnotations.kind]
  const namespace = annotations[ownerAnnotations.namespace]
  const name = annotations[ownerAnnotations.name]
  const isOwned = (kind === 'Upstream' || kind === 'VirtualRegistry') && namespace && name
  const encoded = texts(record(raw).data)[routeSecretKey]
  const document = readDocument(encoded)
  const { route } = document ?? read(DocumentHead, encoded) ?? {}
  const isRegistry = route?.kind === 'VirtualRegistry' && route.path !== undefined
  return {
    metadata,
    owner: isOwned ? { kind, namespace, name } : route && ownerIn(route),
    document,
    claim: isRegistry ? { path: route.path!, hosts: route.hosts } : undefined,
  }
}

/** What a document of any version says of whose it is, and what it has for itself. */
const DocumentHead = z.object({
  route: z.object({
    kind: z.enum(['Upstream', 'VirtualRegistry']),
    namespace: z.string(),
    name: z.string(),
    path: z.string().optional(),
    hosts: z.array(z.string()).default([]),
  }),
})

function ownerIn({ kind, namespace, name }: Owner): Owner {
  return { kind, namespace, name }
}

/** Undefined for what is no document, or one of another version that cannot be read here. */
export function readDocument(encoded: string | undefined): RouteDocument | undefined {
  return read(RouteDocument, encoded)
}

function read<T extends z.ZodType>(schema: T, encoded: string | undefined): z.output<T> | undefined {
  try {
    return schema.parse(JSON.parse(Buffer.from(encoded ?? '', 'base64').toString('utf8')))
  } catch {
    return undefined // whatever it says has the text in it
  }
}

/** Of a list the client gives dates, of a watch the API server gives text. */
function observeMetadata(raw: unknown, keptAnnotations: readonly string[]): SeenMetadata {
  const {
    namespace,
    name,
    uid,
    resourceVersion,
    generation,
    creationTimestamp,
    annotations,
    deletionTimestamp,
  } = record(record(raw).metadata)
  return {
    namespace: String(namespace),
    name: String(name),
    uid: String(uid),
    resourceVersion: String(resourceVersion),
    generation: Number(generation ?? 0),
    creationTimestamp:
      creationTimestamp instanceof Date ? creationTimestamp.toISOString() : toIsoString(creationTimestamp),
    annotations: Object.fromEntries(
      Object.entries(texts(annotations)).filter(([key]) => keptAnnotations.includes(key)),
    ),
    isBeingDeleted: deletionTimestamp !== undefined && deletionTimestamp !== null,
  }
}

function toIsoString(time: unknown): string {
  const date = new Date(String(time))
  return Number.isNaN(date.getTime()) ? '' : date.toISOString()
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function texts(value: unknown): Record<string, string> {
  return Object.fromEntries(
    Object.entries(record(value)).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
}
