import { describe, expect, it } from 'vitest'
import { ClientFailure, type Command, fillCell, withoutPlaces } from './client.ts'
import { cellKey, formatTable, parseTables } from './page.ts'
import type { Sample } from './samples.ts'

const through = { host: '127.0.0.1:1', prefix: 'default/all/' }
const upstream = { host: '127.0.0.1:2', prefix: '' }
const sample = {} as Sample

describe('a cell', () => {
  const command = (behaviour: (host: string) => string[]): Command => ({
    title: 'a command',
    wanted: () => ['sha256:a', 'sha256:b'],
    get: async ({ host }) => behaviour(host),
  })
  const fail = (message: string): never => {
    throw new ClientFailure(message)
  }

  it('is the same only where the client has all that the upstream has', async () => {
    const got = (digests: string[]) =>
      fillCell(
        command(() => digests),
        sample,
        { through, upstream },
      )
    expect(await got(['sha256:b', 'sha256:a', 'sha256:c'])).toEqual({ verdict: 'same' })
    expect(await got(['sha256:a'])).toMatchObject({ verdict: 'red' })
    expect(await got([])).toMatchObject({ verdict: 'red' })
  })

  it.each([
    ['a limit where the client says the same of the upstream', ['no', 'no'], 'limit'],
    ['red where the client says something else', ['no', 'never'], 'red'],
    ['red where the client fails through Headwater only', ['no', undefined], 'red'],
  ])('is %s', async (_, [here, there], verdict) => {
    const one = command((host) => {
      const said = host === through.host ? here : there
      return said === undefined ? [] : fail(`${host}: ${said}`)
    })
    expect(await fillCell(one, sample, { through, upstream })).toMatchObject({ verdict })
  })

  it('hides no error of the test itself behind a limit', async () => {
    const broken = command(() => JSON.parse('{') as string[])
    await expect(fillCell(broken, sample, { through, upstream })).rejects.toThrow(SyntaxError)
  })
})

it.each([
  ['pulling 127.0.0.1:1/default/all/a:one from 127.0.0.1:1', 'pulling a:one from the registry'],
  [`digest sha256:${'a'.repeat(64)} is not sha512:${'b'.repeat(128)}`, 'digest sha256:… is not sha512:…'],
  ['time="2026-11-22T05:21:55Z" level=fatal msg="of type \\"a\\""', 'of type "a"'],
])('reads %j without what differs between runs', (message, expected) => {
  expect(withoutPlaces(message, through)).toBe(expected)
})

it('reads back the cells it wrote', () => {
  const [rows, columns] = [
    ['one', 'two'],
    ['image', 'index'],
  ]
  const cells = new Map([
    [cellKey('one', 'image'), { verdict: 'same' }],
    [cellKey('one', 'index'), { verdict: 'limit', failure: 'no' }],
    [cellKey('two', 'index'), { verdict: 'limit', failure: 'no' }],
  ] as const)
  const read = parseTables(`# A page\n\n${formatTable({ rows, columns, cells })}\n`)
  expect(Object.fromEntries(read)).toEqual({
    'one × image': '✓',
    'one × index': 'limit 1',
    'two × image': '',
    'two × index': 'limit 1',
  })
})
