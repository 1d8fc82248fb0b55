import { createCrd, type Schema } from '../../../operator/api/crd.ts'
import { kinds } from '../../../operator/api/kinds.ts'

/** A field of a spec by which one object names others. */
export interface Reference {
  readonly kind: 'VirtualRegistry' | 'Upstream' | 'CleanupPolicy'
  /** `spec.upstreams[].upstreamRef` */
  readonly field: string
  readonly schema: Schema
}

/** Every field that refers to other objects, as the schemas say. */
export const references: readonly Reference[] = fields().filter(({ field }) =>
  /(?:Refs?|Selector)$/.test(field),
)

/** Every field of every spec. */
export function fields(): Reference[] {
  return kinds.flatMap((each) => {
    const { properties = {} } = createCrd(each).spec.versions[0]!.schema.openAPIV3Schema
    return below(properties.spec!, 'spec').map((found) => ({
      ...found,
      kind: each.kind as Reference['kind'],
    }))
  })
}

function below(schema: Schema, path: string): { readonly field: string; readonly schema: Schema }[] {
  const found = Object.entries(schema.properties ?? {}).flatMap(([name, field]) => [
    { field: `${path}.${name}`, schema: field },
    ...below(field, `${path}.${name}`),
  ])
  return schema.items ? [...found, ...below(schema.items, `${path}[]`)] : found
}

/** Names by which an object of another namespace, or none at all, could be meant. */
export const smuggledNames = [
  ...[
    'other/target',
    '../other/target',
    'other:target',
    'default/../other/target',
    '%2e%2e%2fother%2ftarget',
  ],
  ...[
    '',
    '.',
    '..',
    'target/',
    '/target',
    ' target',
    'target\n',
    'Target',
    '*',
    'other\\target',
    'target\u0000',
  ],
]
