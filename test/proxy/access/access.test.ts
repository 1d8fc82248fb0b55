import { expect, it } from 'vitest'
import { compileAnonymousAccess } from '../../../proxy/access/access.ts'
import type { RegistryRoute } from '../../../proxy/routes.ts'
import { registry } from '../http/fixtures.ts'

const rules = (...rules: RegistryRoute['access']['rules']) =>
  compileAnonymousAccess(registry('vr', { access: { rules } }))
const anonymous = [{ type: 'Anonymous' as const }]

it('lets nobody in where there is no rule', () => {
  expect(rules()('alpine')).toBe(false)
})

it.each([
  [['**'], 'a/b', true],
  [['library/*'], 'library/alpine', true],
  [['library/*'], 'secret/alpine', false],
  [['a', 'b'], 'b', true],
  [[], 'a', false],
])('lets anybody pull %j of %s: %s', (repositories, repository, expected) => {
  expect(rules({ subjects: anonymous, verbs: ['Pull'], repositories })(repository)).toBe(expected)
})

it('takes what any rule allows', () => {
  const may = rules(
    { subjects: anonymous, verbs: ['Pull'], repositories: ['a'] },
    { subjects: anonymous, verbs: ['Pull'], repositories: ['b'] },
  )
  expect(['a', 'b', 'c'].map(may)).toEqual([true, true, false])
})

it.each([
  ['without subjects', { subjects: [], verbs: ['Pull' as const], repositories: ['**'] }],
  ['without verbs', { subjects: anonymous, verbs: [], repositories: ['**'] }],
])('takes a rule %s for none', (_name, rule) => {
  expect(rules(rule)('alpine')).toBe(false)
})
