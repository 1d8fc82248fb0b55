import type { z } from 'zod'
import { CleanupPolicy } from '../../operator/api/cleanup-policy.ts'
import { ConfigMap, Secret } from '../../operator/api/core.ts'
import { apiVersion } from '../../operator/api/object.ts'
import { alternatives, type FieldProblem, formatField, parseResource } from '../../operator/api/parse.ts'
import { Upstream } from '../../operator/api/upstream.ts'
import { VirtualRegistry } from '../../operator/api/virtual-registry.ts'
import type { Resources } from '../../operator/compile.ts'
import type { SourceDocument } from './parse-documents.ts'
import { unknownFields } from './unknown-fields.ts'

const kinds = {
  CleanupPolicy: { apiVersion, schema: CleanupPolicy },
  ConfigMap: { apiVersion: 'v1', schema: ConfigMap },
  Secret: { apiVersion: 'v1', schema: Secret },
  Upstream: { apiVersion, schema: Upstream },
  VirtualRegistry: { apiVersion, schema: VirtualRegistry },
} as const satisfies Record<string, { apiVersion: string; schema: z.ZodType }>

type Kind = keyof typeof kinds
type Resource = Upstream | VirtualRegistry | Secret | ConfigMap

export interface ReadResources {
  readonly resources: Resources
  readonly problems: readonly string[]
  /** Whether there is such a document, valid or not, or one of which that cannot be said. */
  mayBeDeclared(kind: Kind, namespace: string, name: string): boolean
  /** One line for a problem that is found later, with the place it comes from. */
  locate(kind: Kind, namespace: string, name: string, problem: FieldProblem): string
}

/** Documents to resources: each of a known kind, valid, without unknown fields, and there once. */
export function readResources(documents: readonly SourceDocument[]): ReadResources {
  const sources = new Map<string, SourceDocument>()
  const resources: Resource[] = []
  const problems: string[] = []
  let isUnclear = false

  for (const document of documents) {
    const header = readHeader(document)
    if (header.problem !== undefined) {
      isUnclear = true
      problems.push(formatProblem(document, header.subject, header.problem))
      continue
    }
    const { kind, value, subject, key } = header
    isUnclear ||= key === undefined
    const found = problemsOf(kind, value)
    const earlier = key === undefined ? undefined : sources.get(key)
    if (earlier !== undefined) {
      const place = `${earlier.file}:${earlier.lineOf([])}`
      found.push({ path: ['metadata', 'name'], message: `declared twice, first at ${place}` })
    } else if (key !== undefined) sources.set(key, document)
    problems.push(...found.map((problem) => formatProblem(document, subject, problem)))
    const parsed = parseResource(kinds[kind].schema, value)
    if (parsed.value !== undefined && parsed.value.kind !== 'CleanupPolicy') resources.push(parsed.value)
  }

  return {
    resources: {
      upstreams: resources.filter((resource) => resource.kind === 'Upstream'),
      virtualRegistries: resources.filter((resource) => resource.kind === 'VirtualRegistry'),
      secrets: resources.filter((resource) => resource.kind === 'Secret'),
      configMaps: resources.filter((resource) => resource.kind === 'ConfigMap'),
    },
    problems,
    mayBeDeclared: (kind, namespace, name) => isUnclear || sources.has(`${kind} ${namespace}/${name}`),
    locate(kind, namespace, name, problem) {
      const document = sources.get(`${kind} ${namespace}/${name}`)
      const subject = `${kind} ${namespace}/${name}`
      return document === undefined
        ? `${subject}: ${problem.message}`
        : formatProblem(document, subject, problem)
    },
  }
}

type Header =
  | { readonly problem: FieldProblem; readonly subject: string | undefined }
  | {
      readonly problem?: undefined
      readonly kind: Kind
      /** With a namespace. */
      readonly value: unknown
      readonly subject: string
      /** Undefined without a name. */
      readonly key: string | undefined
    }

function readHeader({ value }: SourceDocument): Header {
  if (!isObject(value)) {
    return { subject: undefined, problem: { path: [], message: 'expected a resource: apiVersion, kind, …' } }
  }
  const { kind, metadata } = value
  if (typeof kind !== 'string') {
    return { subject: undefined, problem: { path: ['kind'], message: `expected ${alternatives(live)}` } }
  }
  const { name, namespace } = isObject(metadata) ? metadata : {}
  const subject = `${shorten(kind)} ${shorten(namespace ?? 'default')}/${shorten(name ?? '(unnamed)')}`
  if (kind === 'List') {
    const message =
      'a List is not supported; write its items as documents of their own, with --- between them'
    return { subject: undefined, problem: { path: ['kind'], message } }
  }
  if (!Object.hasOwn(kinds, kind)) {
    return { subject, problem: { path: ['kind'], message: `unknown kind; expected ${alternatives(live)}` } }
  }
  const known = kind as Kind
  if (value.apiVersion !== kinds[known].apiVersion) {
    return { subject, problem: { path: ['apiVersion'], message: `expected ${kinds[known].apiVersion}` } }
  }
  const key = typeof name === 'string' ? subject : undefined
  return { kind: known, value: withNamespace(value), subject, key }
}

/** Kinds that can be served; CleanupPolicy is known and refused. */
const live = ['Upstream', 'VirtualRegistry', 'Secret', 'ConfigMap']

function withNamespace(value: Record<string, unknown>): unknown {
  if (!isObject(value.metadata)) return value
  return { ...value, metadata: { ...value.metadata, namespace: value.metadata.namespace ?? 'default' } }
}

/** What an API server writes into each object; accepted and not read, so that a dump of a cluster can be served. */
const serverFields = {
  metadata: [
    'annotations',
    'creationTimestamp',
    'finalizers',
    'generation',
    'managedFields',
    'ownerReferences',
    'resourceVersion',
    'selfLink',
    'uid',
  ],
  top: ['status'],
}

function problemsOf(kind: Kind, value: unknown): FieldProblem[] {
  if (kind === 'CleanupPolicy') {
    return [{ path: ['kind'], message: 'CleanupPolicy is not supported yet' }]
  }
  const { schema } = kinds[kind]
  const unknown = unknownFields(schema, value).filter(({ path }) => !isServerField(path))
  return [...(parseResource(schema, value).problems ?? []), ...unknown]
}

function isServerField([first, second, ...rest]: readonly (string | number)[]): boolean {
  if (second === undefined) return serverFields.top.includes(String(first))
  return first === 'metadata' && rest.length === 0 && serverFields.metadata.includes(String(second))
}

function formatProblem(
  document: SourceDocument,
  subject: string | undefined,
  { path, message }: FieldProblem,
): string {
  const place = `${document.file}:${document.lineOf(path)}: document ${document.number}`
  const field = path.length === 0 ? '' : `: ${formatField(path)}`
  return `${place}${subject === undefined ? '' : `, ${subject}`}${field}: ${message}`
}

/** Names come from a file that may be anything. */
function shorten(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, 253).replace(/[^\x21-\x7e]/g, '?') : '(invalid)'
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
