import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Claim } from '../../../operator/virtual-registry/claims.ts'
import { type Contender, contest, isSecond, mustLetGo } from '../../../operator/virtual-registry/contest.ts'

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

it.each<[string, Partial<Contender>, Partial<Contender>]>([
  ['the one that does not want to stay', { wanted: claim('y') }, { wanted: claim('x') }],
  ['the younger document', { wanted: claim('x/z'), heldSince: 'b' }, { wanted: claim('x'), heldSince: 'a' }],
  ['the younger', { wanted: claim('x/z'), creationTimestamp: 'u' }, { wanted: claim('x') }],
])('of two that are served at one place the second is %s', (_title, second, first) => {
  const a = contender('a', { held: claim('x/z'), ...second })
  const b = contender('b', { held: claim('x'), ...first })
  for (const all of [
    [a, b],
    [b, a],
  ]) {
    expect(all.filter((each) => isSecond(each, all))).toEqual([a])
  }
})

const moving = (name: string, held: Claim | undefined, wanted: Claim, more: Partial<Contender> = {}) =>
  contender(name, { held, wanted, ...more })
const givers = (...all: Contender[]) => all.filter((each) => mustLetGo(each, all)).map(({ name }) => name)

it.each<[string, Contender[], string[]]>([
  [
    'two that change places',
    [moving('a', claim('x'), claim('y')), moving('b', claim('y'), claim('x'))],
    ['a', 'b'],
  ],
  [
    'three that go round',
    [
      moving('a', claim('x'), claim('y')),
      moving('b', claim('y'), claim('z')),
      moving('c', claim('z'), claim('x')),
    ],
    ['a', 'b', 'c'],
  ],
  [
    'two that change hosts, and stay at their paths',
    [moving('a', claim('x', 'h'), claim('x', 'i')), moving('b', claim('y', 'i'), claim('y', 'h'))],
    ['a', 'b'],
  ],
  [
    'one that stands between others, who cannot go before it',
    [
      moving('a', claim('x', 'h'), claim('y', 'i')),
      moving('b', claim('y'), claim('x')),
      moving('c', claim('z', 'i'), claim('z', 'h')),
    ],
    ['a'],
  ],
  [
    'nobody of a row whose first goes to what is free',
    [moving('a', claim('x'), claim('y')), moving('b', claim('y'), claim('z'))],
    [],
  ],
  [
    'nobody for what another keeps',
    [moving('a', claim('x'), claim('y')), moving('b', claim('y'), claim('y'))],
    [],
  ],
  [
    'nobody for one that does not go where it would be free',
    [
      moving('a', claim('x'), claim('y')),
      moving('b', claim('y'), claim('x', 'h')),
      contender('c', { held: claim('z', 'h') }),
    ],
    [],
  ],
  [
    'nobody where an older newcomer would come between',
    [
      moving('b', claim('x'), claim('y')),
      moving('c', claim('y'), claim('x')),
      contender('a', { wanted: claim('y') }),
    ],
    [],
  ],
  [
    'two that change places before a younger newcomer',
    [
      moving('a', claim('x'), claim('y')),
      moving('b', claim('y'), claim('x')),
      contender('c', { wanted: claim('y') }),
    ],
    ['a', 'b'],
  ],
  [
    'nobody that has nothing',
    [contender('a', { wanted: claim('y') }), contender('b', { held: claim('y') })],
    [],
  ],
  [
    'nobody that wants nothing',
    [contender('a', { held: claim('x') }), moving('b', claim('y'), claim('x'))],
    [],
  ],
])('to let go is for %s', (_title, all, wanted) => {
  expect(givers(...all)).toEqual(wanted)
})

it.each([
  ['before nobody', []],
  ['before an older one that wants all their places', [contender('0', { wanted: claim('p') })]],
])(
  'lets any number change places %s, without two at one place, when writes take their time',
  (_title, more) => {
    const names = ['a', 'b', 'c', 'd', 'e']
    const order = fc.shuffledSubarray(names, { minLength: names.length, maxLength: names.length })
    fc.assert(
      fc.property(order, fc.infiniteStream(fc.nat({ max: names.length - 1 })), (places, turns) => {
        const served = new Map(names.map((name) => [name, claim(`p/${name}`)]))
        const underWay = new Map<string, Claim | undefined>()
        const all = () => [
          ...more,
          ...names.map((name, at) => {
            const held = served.get(name)
            const isLeaving = held !== undefined && underWay.has(name) && underWay.get(name) === undefined
            return contender(name, { held, wanted: claim(`p/${places[at]}`), isLeaving })
          }),
        ]
        const decide = (name: string): void => {
          const seen = all()
          const self = seen.find((each) => each.name === name)!
          if (contest(self, seen).length === 0) underWay.set(name, self.wanted)
          else if (mustLetGo(self, seen)) underWay.set(name, undefined)
        }
        const land = (name: string): void => {
          const next = underWay.get(name)
          underWay.delete(name)
          if (next === undefined) served.delete(name)
          else served.set(name, next)
        }
        for (let turn = 0; turn < 300; turn++) {
          const name = names[turns.next().value!]!
          if (underWay.has(name)) land(name)
          else decide(name)
          expect(new Set([...served.values()].map(({ path }) => path)).size).toBe(served.size)
        }
        expect(names.map((name) => served.get(name)?.path)).toEqual(places.map((name) => `p/${name}`))
      }),
    )
  },
)

it('looks but a few times at each of a thousand that go round', () => {
  let looks = 0
  const all = Array.from({ length: 1000 }, (_, at): Contender => {
    const wanted = claim(`p/${(at + 1) % 1000}`)
    const known = moving(`r${at}`, claim(`p/${at}`), wanted)
    return Object.defineProperty(known, 'wanted', {
      get() {
        looks += 1
        return wanted
      },
    })
  })
  expect(mustLetGo(all[500]!, all)).toBe(false)
  expect(looks).toBeLessThan(10 * all.length)
})

it.each([
  [20, true],
  [21, false],
])('of %i that go round lets one go: %s', (count, isGiver) => {
  const all = Array.from({ length: count }, (_, at) =>
    moving(`r${at}`, claim(`p/${at}`), claim(`p/${(at + 1) % count}`)),
  )
  expect(mustLetGo(all[5]!, all)).toBe(isGiver)
})

it('never gives two registries what overlaps, whatever they have and want and in which order they are asked', () => {
  const path = fc
    .array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 3 })
    .map((parts) => parts.join('/'))
  const claims = fc.record({ path, hosts: fc.subarray(['h', 'i']) })
  const wishes = fc.array(fc.option(claims, { nil: undefined }), { minLength: 4, maxLength: 4 })
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
          else if (mustLetGo(self, seen)) held.delete(name)
        }
        expect(overlapsIn([...held.values()])).toEqual([])
      }
    }),
  )
})

function overlapsIn(served: readonly Claim[]): [Claim, Claim][] {
  const isAtOrBelow = (a: Claim, b: Claim) => a.path === b.path || a.path.startsWith(`${b.path}/`)
  return served.flatMap((a, index) =>
    served
      .slice(index + 1)
      .filter((b) => isAtOrBelow(a, b) || isAtOrBelow(b, a) || a.hosts.some((host) => b.hosts.includes(host)))
      .map((b): [Claim, Claim] => [a, b]),
  )
}
