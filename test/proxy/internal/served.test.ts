import { expect, it } from 'vitest'
import { servedOf } from '../../../proxy/internal/served.ts'
import type { NamedDocuments } from '../../../proxy/route-set.ts'
import { type RouteDocument, registryRevision } from '../../../proxy/routes.ts'

const upstream = (name: string, revision: string) =>
  ({ features: [], revision, route: { kind: 'Upstream', namespace: 'a', name } }) as unknown as RouteDocument
const registry = (revision: string, ...names: string[]) => {
  const upstreams = names.map((name) => ({ name }))
  const route = { kind: 'VirtualRegistry', namespace: 'a', name: 'all', upstreams }
  return { features: [], revision, route } as unknown as RouteDocument
}
const named = (...documents: RouteDocument[]): NamedDocuments =>
  new Map(documents.map((document, index) => [`d${index}`, document]))

it('names each upstream by the revision of its document, and each registry by all it is made of', () => {
  const served = servedOf(
    named(registry('r', 'one', 'gone', 'two'), upstream('one', '1'), upstream('two', '2')),
    [],
  )
  expect(served.upstreams).toEqual({ 'a/one': '1', 'a/two': '2' })
  expect(served.registries).toEqual({ 'a/all': registryRevision('r', ['1', undefined, '2']) })
})

it('gives a registry another name when one of its upstreams has another', () => {
  const before = servedOf(named(registry('r', 'one'), upstream('one', '1')), []).registries
  const after = servedOf(named(registry('r', 'one'), upstream('one', '2')), []).registries
  expect(after).not.toEqual(before)
})

it('says what cannot be taken, in few words', () => {
  const problems = [{ name: 'upstream-1', reason: 'x'.repeat(1000), isServed: true }]
  expect(servedOf(named(), problems).problems).toEqual({ 'upstream-1': 'x'.repeat(200) })
})
