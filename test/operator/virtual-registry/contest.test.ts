import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Claim } from '../../../operator/virtual-registry/claims.ts'
import { type Contender, contest } from '../../../operator/virtual-registry/contest.ts'

/** Older by the order of the alphabet. */
function contender(name: string, more: Partial<Contender>): Contender {
  return {
    namespace: 'n',
    name,
    uid: name,
    creationTimestamp: 't',
    held: undefined,
    wanted: undefined,
    ...more,
  }
}
const claim = (path: string, ...hosts: string[]): Claim => ({ path, hosts })
const losers = (...all: Contender[]) =>
  all.filter((each) => contest(each, all).length > 0).map(({ name }) => name)

it.each<[string, Contender[], string[]]>([
  ['nobody has what nobody wants', [contender('a', {}), contender('b', { wanted: claim('x') })], []],
  [
    'the older gets it',
    [contender('b', { wanted: claim('x') }), contender('a', { wanted: claim('x') })],
    ['b'],
  ],
  [
    'of two as old the uid decides',
    [contender('a', { wanted: claim('x/y') }), contender('b', { wanted: claim('x') })],
    ['b'],
  ],
  [
    'age goes before the uid',
    [contender('a', { wanted: claim('x'), creationTimestamp: 'u' }), contender('b', { wanted: claim('x') })],
    ['a'],
  ],
  [
    'whoever has it keeps it',
    [contender('a', { wanted: claim('x') }), contender('b', { held: claim('x'), wanted: claim('x') })],
    ['a'],
  ],
  [
    'what is still served of one that moves is not free',
    [contender('a', { held: claim('x'), wanted: claim('y') }), contender('b', { wanted: claim('x') })],
    ['b'],
  ],
  [
    'two that want to change places stay',
    [
      contender('a', { held: claim('x'), wanted: claim('y') }),
      contender('b', { held: claim('y'), wanted: claim('x') }),
    ],
    ['a', 'b'],
  ],
  ['its own ground is no obstacle', [contender('a', { held: claim('x'), wanted: claim('x/y') })], []],
  [
    'one without a right holds on to what is served of it',
    [contender('a', { held: claim('x') }), contender('b', { wanted: claim('x/y') })],
    ['b'],
  ],
  [
    'who loses takes nothing',
    [
      contender('a', { wanted: claim('x/y') }),
      contender('b', { wanted: claim('x') }),
      contender('c', { wanted: claim('x/z') }),
    ],
    ['b'],
  ],
  [
    'who loses a host takes no path',
    [
      contender('a', { wanted: claim('x', 'h') }),
      contender('b', { wanted: claim('y', 'h') }),
      contender('c', { wanted: claim('y') }),
    ],
    ['b'],
  ],
  [
    'of two that are served at one place the older stays',
    [
      contender('b', { held: claim('x'), wanted: claim('x') }),
      contender('a', { held: claim('x'), wanted: claim('x') }),
    ],
    ['b'],
  ],
])('%s', (_title, all, wanted) => {
  expect(losers(...all)).toEqual(wanted)
})

it('never gives two registries what overlaps, whatever they have and want and in which order they are asked', () => {
  const path = fc
    .array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 3 })
    .map((parts) => parts.join('/'))
  const claims = fc.record({ path, hosts: fc.subarray(['h', 'i']) })
  const wishes = fc.array(fc.option(claims, { nil: undefined }), { minLength: 4, maxLength: 4 })
  const overlaps = (a: Claim, b: Claim) =>
    a.path === b.path ||
    a.path.startsWith(`${b.path}/`) ||
    b.path.startsWith(`${a.path}/`) ||
    a.hosts.some((host) => b.hosts.includes(host))

  fc.assert(
    fc.property(fc.array(wishes, { minLength: 1, maxLength: 4 }), (rounds) => {
      const held = new Map<string, Claim>()
      for (const round of rounds) {
        const all = round.map((wanted, number) =>
          contender(String(number), { wanted, held: held.get(String(number)) }),
        )
        // each is decided on its own, with what was written meanwhile in sight
        for (const { name } of all) {
          const seen = all.map((each) => ({ ...each, held: held.get(each.name) }))
          const self = seen.find((each) => each.name === name)!
          if (self.wanted && contest(self, seen).length === 0) held.set(name, self.wanted)
        }
        const served = [...held.values()]
        for (const [index, one] of served.entries()) {
          expect(served.slice(index + 1).some((other) => overlaps(one, other))).toBe(false)
        }
      }
    }),
  )
})
