import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createCrd, type Schema, structuralSchema } from '../../../operator/api/crd.ts'
import { kinds } from '../../../operator/api/kinds.ts'
import type { Rule } from '../../../operator/api/object.ts'
import { crdFiles } from '../../rig/crd-files.ts'

describe('the committed definitions', () => {
  it.each([...crdFiles()])(
    '%s is as it would be generated; otherwise run "npm run generate"',
    (path, text) => {
      expect(readFileSync(path, 'utf8')).toBe(text)
    },
  )

  it('are all there is in the folder', () => {
    expect(readdirSync('crds').map((file) => join('crds', file))).toEqual([...crdFiles().keys()].sort())
  })
})

interface Place {
  readonly place: string
  readonly node: Schema
}

/** Every schema in a schema, with its place. */
function placesOf(node: Schema, place: string): Place[] {
  const fields = Object.entries(node.properties ?? {}).map(([name, field]) => [`${place}.${name}`, field])
  const inner = [node.items, node.additionalProperties].map((schema) => [`${place}[]`, schema])
  const below = [...fields, ...inner].flatMap(([at, schema]) =>
    schema === undefined ? [] : placesOf(schema as Schema, at as string),
  )
  return [{ place, node }, ...below]
}

const crds = kinds.map((kind) => createCrd(kind))
const roots = crds.map(({ spec }) => ({
  place: spec.names.kind,
  node: spec.versions[0]!.schema.openAPIV3Schema,
}))
const places = roots.flatMap(({ place, node }) => placesOf(node, place))
/** Without what the API server has its own mind about. */
const ours = places.filter(({ place }) => !place.includes('.metadata'))
const placesWhere = (is: (node: Schema, place: string) => boolean) =>
  ours.filter(({ node, place }) => is(node, place)).map(({ place }) => place)
const rulesOf = ({ node }: Place): readonly Rule[] => node['x-kubernetes-validations'] ?? []
const rules = places.flatMap(rulesOf)

describe('the schemas', () => {
  it('describe every field', () => {
    expect(places.length).toBeGreaterThan(120)
    expect(placesWhere((node) => !node.description)).toEqual([])
    expect(placesWhere((node) => /^[a-z]|[^.]$/.test(node.description ?? ''))).toEqual([])
  })

  it('say nothing that a structural schema may not', () => {
    const banned = [
      ...['$ref', '$schema', 'definitions', 'dependencies', 'id', 'deprecated', 'discriminator', 'readOnly'],
      ...['writeOnly', 'xml', 'patternProperties', 'propertyNames', 'uniqueItems', 'const', 'nullable'],
      ...['anyOf', 'oneOf', 'allOf', 'not', 'additionalItems', 'exclusiveMinimum', 'exclusiveMaximum'],
      'x-kubernetes-preserve-unknown-fields',
    ]
    expect(placesWhere((node) => banned.some((word) => word in node))).toEqual([])
    expect(placesWhere((node) => typeof node.type !== 'string')).toEqual([])
    expect(placesWhere((node) => typeof node.additionalProperties === 'boolean')).toEqual([])
    expect(placesWhere((node) => node.type === 'array' && node.items === undefined)).toEqual([])
    expect(placesWhere((node) => node.properties !== undefined && !!node.additionalProperties)).toEqual([])
    expect(
      placesWhere((node) => ![undefined, 'int32', 'int64', 'date-time'].includes(node.format as string)),
    ).toEqual([])
    expect(placesWhere((node) => node.type === 'number')).toEqual([])
  })

  it('bound every list, map and text, and say how lists are merged', () => {
    expect(placesWhere((node) => node.type === 'array' && !node.maxItems)).toEqual([])
    expect(placesWhere((node) => !!node.additionalProperties && !node.maxProperties)).toEqual([])
    const isBounded = (node: Schema) => !!node.maxLength || !!node.enum || node.format === 'date-time'
    expect(
      placesWhere(
        (node, place) => node.type === 'string' && !isBounded(node) && /\.spec|\.status/.test(place),
      ),
    ).toEqual([])
    const listTypes = ours
      .filter(({ node }) => node.type === 'array')
      .map(({ place, node }) => {
        const keys = node['x-kubernetes-list-map-keys'] as string[] | undefined
        return `${node['x-kubernetes-list-type']}${keys ? ` by ${keys}` : ''} ${place.includes('.status') ? place : 'in a spec'}`
      })
    expect([...new Set(listTypes)].sort()).toEqual([
      'atomic VirtualRegistry.status.imagePrefixes',
      'atomic in a spec',
      'map by name VirtualRegistry.status.upstreams',
      'map by type CleanupPolicy.status.conditions',
      'map by type Upstream.status.conditions',
      'map by type VirtualRegistry.status.conditions',
    ])
  })

  it('use patterns that RE2 knows', () => {
    const patterns = ours.flatMap(({ node }) => (typeof node.pattern === 'string' ? [node.pattern] : []))
    const inRules = rules.flatMap(({ rule, messageExpression = '' }) =>
      [...`${rule} ${messageExpression}`.matchAll(/r'([^']*)'/g)].map(([, pattern]) => pattern!),
    )
    expect(inRules.length).toBeGreaterThan(20)
    expect([...patterns, ...inRules].filter((pattern) => /\(\?|\\[1-9bBdDsSwWpP]/.test(pattern))).toEqual([])
  })

  it('give every rule a message that says what to write', () => {
    const words = /expected|needs?|use|no |take none/
    expect(rules.filter(({ message }) => !words.test(message) || message.length > 120)).toEqual([])
    expect(rules.filter(({ rule }) => rule.length > 1000)).toEqual([])
  })

  it('have a rule where zod has one beyond the schema', () => {
    const beyond = ours.filter((each) =>
      rulesOf(each).some(({ rule }) => !/^self\.matches|^self >=|^size/.test(rule)),
    )
    expect(beyond.map(({ place }) => place)).toEqual([
      'VirtualRegistry',
      'VirtualRegistry.spec.upstreams',
      'VirtualRegistry.spec.path',
      'VirtualRegistry.spec.hosts',
      'Upstream.spec',
      'CleanupPolicy.spec.upstreamSelector.matchExpressions[]',
    ])
  })

  it('refer to objects of the same namespace only', () => {
    const refs = ours.filter(({ place }) => /Ref$/.test(place))
    expect(refs.map(({ place, node }) => `${place}: ${Object.keys(node.properties ?? {})}`)).toEqual([
      'VirtualRegistry.spec.upstreams[].upstreamRef: name',
      'Upstream.spec.credentialsSecretRef: name',
      'Upstream.spec.tls.caCertificateRef: kind,name,key',
      'Upstream.spec.tls.clientCertificateSecretRef: name',
    ])
    expect(refs.filter(({ node }) => node['x-kubernetes-map-type'] !== 'atomic')).toEqual([])
    expect(placesWhere((_, place) => /namespace/i.test(place))).toEqual([])
  })

  it('say that nothing was seen yet until something was', () => {
    for (const { node } of roots) expect(node.properties?.status?.default).toEqual({ observedGeneration: -1 })
  })
})

describe.each(crds)('the definition of $spec.names.kind', ({ metadata, spec }) => {
  const version = spec.versions[0]!
  const schemaAt = (path: string) => {
    const names = path.split('.').slice(1)
    return names.reduce<Schema | undefined>(
      (node, name) => node?.properties?.[name],
      version.schema.openAPIV3Schema,
    )
  }

  it('is namespaced, with a status of its own and one category', () => {
    expect(metadata.name).toBe(`${spec.names.plural}.${spec.group}`)
    expect(spec.scope).toBe('Namespaced')
    expect(version.subresources).toEqual({ status: {} })
    expect(spec.names.categories).toEqual(['headwater'])
  })

  it('has columns that are there, the noisy ones only where asked', () => {
    const { additionalPrinterColumns: columns } = version
    expect(columns.filter(({ name }) => name === 'Ready' || name === 'Age')).toHaveLength(2)
    expect(columns.filter((column) => !('priority' in column)).length).toBeLessThanOrEqual(8)
    const ends = columns.map(({ jsonPath }) => jsonPath.replace(/\[\?.*\]\.(\w+)$/, ''))
    const known = ends.filter(
      (path) => path === '.metadata.creationTimestamp' || schemaAt(path) !== undefined,
    )
    expect(known).toEqual(ends)
  })

  it('selects by fields that are single values', () => {
    expect(version.selectableFields.length).toBeGreaterThan(0)
    for (const { jsonPath } of version.selectableFields) {
      expect(['string', 'boolean', 'integer']).toContain(schemaAt(jsonPath)?.type)
    }
  })
})

describe('the generator', () => {
  it('refuses a rule that only zod would know', () => {
    const schema = z.object({ a: z.array(z.string().refine((text) => text !== 'b')) })
    expect(() => structuralSchema(schema)).toThrow('.a: a rule for zod alone')
  })

  it('tells a check with a message in CEL, and one without by its keyword', () => {
    const schema = z
      .string()
      .min(2)
      .regex(/^a\/+$/, { error: 'expected a and slashes' })
      .default('a/')
    expect(structuralSchema(schema)).toEqual({
      type: 'string',
      default: 'a/',
      minLength: 2,
      'x-kubernetes-validations': [{ rule: "self.matches(r'^a/+$')", message: 'expected a and slashes' }],
    })
  })
})
