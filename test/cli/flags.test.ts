import { expect, it } from 'vitest'
import { readFlags } from '../../cli/flags.ts'

const flags = [
  { name: 'no-hash', help: 'a switch' },
  { name: 'deny', value: 'CIDR', repeatable: true, help: 'a list' },
]
const read = (environment: Record<string, string>, args: readonly string[] = []) =>
  Object.fromEntries(readFlags(flags, args, environment))

it.each([
  [{ HEADWATER_NO_HASH: 'true' }, { 'no-hash': ['true'] }],
  [{ HEADWATER_NO_HASH: 'false' }, {}],
  [{ HEADWATER_NO_HASH: '' }, {}],
  [{ HEADWATER_DENY: '10.0.0.0/8, 192.0.2.0/24' }, { deny: ['10.0.0.0/8', '192.0.2.0/24'] }],
])('reads the environment %o as %o', (environment, values) => {
  expect(read(environment)).toEqual(values)
})

it('refuses a switch in the environment that says neither yes nor no', () => {
  expect(() => read({ HEADWATER_NO_HASH: '1' })).toThrow('HEADWATER_NO_HASH: is neither true nor false')
})

it('takes an argument before the environment', () => {
  expect(
    read({ HEADWATER_NO_HASH: 'false', HEADWATER_DENY: '10.0.0.0/8' }, ['--no-hash', '--deny=::1/128']),
  ).toEqual({
    'no-hash': ['true'],
    deny: ['::1/128'],
  })
})
