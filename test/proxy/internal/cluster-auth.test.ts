import { describe, expect, it } from 'vitest'
import { createClusterAuth, parseClusterKeys } from '../../../proxy/internal/cluster-auth.ts'

const key = 'k'.repeat(32)
const other = 'o'.repeat(32)
const now = 1_800_000_000_000
const target = '/internal/v1/state?after=x&wait=30'
const auth = createClusterAuth([key])
const signed = auth.sign('GET', target, now)

describe('a signed request', () => {
  it('is known by who has the key', () => {
    expect(auth.verify(signed, 'GET', target, now)).toBe(true)
  })

  it('never has the key in it', () => {
    expect(signed).not.toContain(key)
  })

  it.each([
    ['59 s later', 59_000, true],
    ['59 s earlier', -59_000, true],
    ['62 s later', 62_000, false],
    ['62 s earlier', -62_000, false],
  ])('counts by clocks: %s', (_name, aheadMs, isTaken) => {
    expect(auth.verify(signed, 'GET', target, now + aheadMs)).toBe(isTaken)
  })

  it.each([
    ['nothing', undefined],
    ['an empty value', ''],
    ['another scheme', signed.replace('Headwater', 'Bearer')],
    ['a digest that is cut', signed.slice(0, -2)],
    ['upper case', signed.toUpperCase()],
    ['another digest', `${signed.slice(0, -1)}${signed.endsWith('0') ? '1' : '0'}`],
    ['another time', signed.replace(/ (\d+)/, (_all, time) => ` ${Number(time) + 1}`)],
    ['more behind it', `${signed} `],
  ])('is refused with %s', (_name, value) => {
    expect(auth.verify(value, 'GET', target, now)).toBe(false)
  })

  it('is for one method, path and query', () => {
    expect(auth.verify(signed, 'DELETE', target, now)).toBe(false)
    expect(auth.verify(signed, 'GET', '/internal/v1/state', now)).toBe(false)
    expect(auth.verify(signed, 'GET', `${target}1`, now)).toBe(false)
  })

  it('is refused by who has another key', () => {
    expect(createClusterAuth([other]).verify(signed, 'GET', target, now)).toBe(false)
  })

  it('is known by both sides of an exchange of keys, in whatever order they learn of it', () => {
    const exchanging = createClusterAuth([other, key])
    expect(exchanging.verify(signed, 'GET', target, now)).toBe(true)
    expect(
      createClusterAuth([key, other]).verify(exchanging.sign('GET', target, now), 'GET', target, now),
    ).toBe(true)
  })
})

describe('a file of keys', () => {
  it.each([
    ['one line', `${key}\n`, [key]],
    ['one line without an end', key, [key]],
    ['two lines', `${key}\r\n${other}\r\n`, [key, other]],
    ['nothing', '\n', undefined],
    ['a short line', 'k'.repeat(31), undefined],
    ['a short second line', `${key}\nshort`, undefined],
    ['three lines', `${key}\n${other}\n${key}`, undefined],
  ])('with %s', (_name, text, keys) => {
    expect(parseClusterKeys(text)).toEqual(keys)
  })
})
