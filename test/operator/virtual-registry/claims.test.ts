import fc from 'fast-check'
import { expect, it } from 'vitest'
import { settleClaims } from '../../../operator/virtual-registry/claims.ts'

function claim(path: string, ...hosts: string[]) {
  return { path, hosts }
}

it.each([
  ['a', 'a'],
  ['a', 'a/b'],
  ['a/b', 'a'],
  ['a/b', 'a/b/c/d'],
  ['a/b/c/d', 'a/b'],
])('lets %s keep its path against %s', (first, second) => {
  const [holder, loser] = [claim(first), claim(second)]
  expect(settleClaims([holder, loser])).toEqual([{ claim: loser, holder, path: first }])
})

it.each([
  ['a', 'ab'],
  ['a/b', 'a/c'],
  ['a/b', 'a/bc'],
  ['a-b', 'a'],
])('gives both %s and %s what they want', (first, second) => {
  expect(settleClaims([claim(first), claim(second)])).toEqual([])
})

it('gives a host once', () => {
  const [holder, loser] = [claim('a', 'x.example', 'y.example'), claim('b', 'y.example')]
  expect(settleClaims([holder, loser])).toEqual([{ claim: loser, holder, host: 'y.example' }])
})

it('gives nothing to who loses, so that a third may have it', () => {
  const [first, second, third] = [claim('a'), claim('a/b', 'x.example'), claim('c', 'x.example')]
  expect(settleClaims([first, second, third]).map((each) => each.claim)).toEqual([second])
})

it('leaves winners prefix-free, and every loser overlaps with a winner before it', () => {
  const path = fc
    .array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 4 })
    .map((all) => all.join('/'))
  const overlap = (one: string, other: string) =>
    `${one}/`.startsWith(`${other}/`) || `${other}/`.startsWith(`${one}/`)
  fc.assert(
    fc.property(fc.array(path, { maxLength: 12 }), (paths) => {
      const claims = paths.map((each) => claim(each))
      const expected: typeof claims = []
      const losers = claims.filter((each) => {
        const loses = expected.some((winner) => overlap(winner.path, each.path))
        if (!loses) expected.push(each)
        return loses
      })
      expect(settleClaims(claims).map((conflict) => conflict.claim)).toEqual(losers)
    }),
  )
})
