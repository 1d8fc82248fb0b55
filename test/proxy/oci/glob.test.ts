import fc from 'fast-check'
import { expect, it } from 'vitest'
import { compileGlobs, globPattern } from '../../../proxy/oci/glob.ts'

it.each([
  ['**', 'a/b/c', true],
  ['*', 'a', true],
  ['*', 'a/b', false],
  ['library/*', 'library/alpine', true],
  ['library/*', 'library/a/b', false],
  ['library/**', 'library/a/b', true],
  ['library/**', 'library', false],
  ['library/**', 'libraryx/a', false],
  ['**/alpine', 'a/b/alpine', true],
  ['a/**/z', 'a/z', true],
  ['a/**/z', 'a/b/c/z', true],
  ['a/**/z', 'az', false],
  ['a/**/z', 'a/bz', false],
  ['a**z', 'a/b/z', true],
  ['a?c', 'abc', true],
  ['a?c', 'a/c', false],
  ['a.c', 'abc', false],
  ['a.c', 'a.c', true],
  ['a+', 'aa', false],
  ['alpine', 'alpine', true],
  ['alpine', 'alpine2', false],
  ['alpine', 'xalpine', false],
  ['', '', true],
])('%j matches %j: %s', (glob, name, expected) => {
  expect(compileGlobs([glob])(name)).toBe(expected)
})

it('matches when any does, and nothing when there is none', () => {
  expect(compileGlobs(['a', 'b'])('b')).toBe(true)
  expect(compileGlobs([])('a')).toBe(false)
})

it('says the same as a regular expression does', () => {
  const glob = fc.string({ unit: fc.constantFrom('a', 'b', '/', '*', '?', '.', '/**/', '**'), maxLength: 6 })
  const name = fc.string({ unit: fc.constantFrom('a', 'b', '/', '.'), maxLength: 8 })
  fc.assert(
    fc.property(glob, name, (text, repository) => {
      expect(compileGlobs([text])(repository)).toBe(asRegExp(text).test(repository))
    }),
    { numRuns: 3000 },
  )
})

function asRegExp(glob: string): RegExp {
  const source = glob.replace(/(?<=\/)\*{2,}\/|\*{2,}|[*?.]/g, (token) => {
    if (token.endsWith('/')) return '(?:.*/)?'
    return token.startsWith('**')
      ? '.*'
      : ({ '*': '[^/]*', '?': '[^/]', '.': '\\.' } as Record<string, string>)[token]!
  })
  return new RegExp(`^${source}$`, 's')
}

it('takes no time over globs made to take long', () => {
  const startedAt = performance.now()
  expect(compileGlobs([`${'*a'.repeat(100)}b`])('a'.repeat(255))).toBe(false)
  expect(compileGlobs([`${'**/'.repeat(80)}b`])('a/'.repeat(127))).toBe(false)
  expect(performance.now() - startedAt).toBeLessThan(200)
})

it('may be made of the characters of names and of stars', () => {
  expect(['library/**', 'a-b_c.d/?*'].every((text) => globPattern.test(text))).toBe(true)
  expect(['', 'A', 'a b', '[a]', '{a,b}', 'a\n'].some((text) => globPattern.test(text))).toBe(false)
})
