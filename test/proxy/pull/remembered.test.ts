import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createRemembered } from '../../../proxy/pull/remembered.ts'

interface Value {
  readonly is: string
}

function rig() {
  let epoch: number | undefined = 1
  const changes = { epoch: () => epoch, announce: () => {}, listen: () => {} }
  const remembered = createRemembered<Value>({ max: 10, changes })
  const setEpoch = (next: number | undefined) => {
    epoch = next
  }
  return { remembered, setEpoch }
}

it('is good for ever where nobody else writes', () => {
  const remembered = createRemembered<Value>({ max: 10, changes: undefined })
  remembered.set('a', { is: 'x' })
  expect(remembered.good('a')).toEqual({ is: 'x' })
})

it('is not good during a gap in the news, nor after it', () => {
  const { remembered, setEpoch } = rig()
  remembered.set('a', { is: 'x' })
  expect(remembered.good('a')).toEqual({ is: 'x' })
  for (const epoch of [undefined, 2]) {
    setEpoch(epoch)
    expect([remembered.good('a'), remembered.peek('a')]).toEqual([undefined, { is: 'x' }])
  }
})

it('is not good when it was learned during a gap', () => {
  const { remembered, setEpoch } = rig()
  setEpoch(undefined)
  remembered.set('a', { is: 'x' })
  setEpoch(1)
  expect(remembered.good('a')).toBeUndefined()
})

it('is not good once the news are that it is another', () => {
  const { remembered } = rig()
  remembered.set('a', { is: 'x' })
  remembered.set('b', { is: 'y' })
  remembered.outdate('a')
  remembered.outdate('unknown')
  expect([remembered.good('a'), remembered.good('b')]).toEqual([undefined, { is: 'y' }])
})

it('is not good when the news came while it was read', async () => {
  const { remembered } = rig()
  const { value, epoch } = await remembered.reading('a', async () => {
    remembered.outdate('a')
    return { is: 'old' }
  })
  remembered.set('a', value, epoch)
  expect([remembered.good('a'), remembered.peek('a')]).toEqual([undefined, { is: 'old' }])
})

it('is not good when a gap began or ended while it was read', async () => {
  const { remembered, setEpoch } = rig()
  const { value, epoch } = await remembered.reading('a', async () => {
    setEpoch(2)
    return { is: 'old' }
  })
  remembered.set('a', value, epoch)
  expect(remembered.good('a')).toBeUndefined()
  const again = await remembered.reading('a', async () => ({ is: 'new' }))
  remembered.set('a', again.value, again.epoch)
  expect(remembered.good('a')).toEqual({ is: 'new' })
})

it('says of a value whether it is held and good, however it came to be otherwise', () => {
  const { remembered, setEpoch } = rig()
  const isGood = remembered.set('a', { is: 'x' })
  expect(isGood()).toBe(true)
  setEpoch(undefined)
  expect(isGood()).toBe(false)
  setEpoch(1)
  expect(isGood()).toBe(true)
  for (const end of [
    () => remembered.set('b', { is: 'another' }),
    () => remembered.outdate('b'),
    () => remembered.forget('b'),
    () => {
      for (let at = 0; at < 10; at++) remembered.set(`more ${at}`, { is: 'more' })
    },
  ]) {
    const isLive = remembered.set('b', { is: 'one' })
    expect(isLive()).toBe(true)
    end()
    expect(isLive()).toBe(false)
  }
})

it('is read once for all who come while it is', async () => {
  const { remembered } = rig()
  let reads = 0
  const read = async () => ({ is: `${++reads}` })
  const found = await Promise.all([1, 2, 3].map(() => remembered.readingOnce('a', read)))
  expect(found.map(({ value }) => value.is)).toEqual(['1', '1', '1'])
  expect((await remembered.readingOnce('a', read)).value.is).toBe('2')
})

it.each([
  ['the news came', ({ remembered }: ReturnType<typeof rig>) => remembered.outdate('a')],
  ['it was taken away', ({ remembered }: ReturnType<typeof rig>) => remembered.forget('a')],
  ['a gap began', ({ setEpoch }: ReturnType<typeof rig>) => setEpoch(undefined)],
  ['a gap was', ({ setEpoch }: ReturnType<typeof rig>) => setEpoch(2)],
])('is read anew by who comes after %s', async (_, happen) => {
  const rigged = rig()
  const answer = Promise.withResolvers<Value>()
  const early = rigged.remembered.readingOnce('a', () => answer.promise)
  happen(rigged)
  const late = rigged.remembered.readingOnce('a', async () => ({ is: 'new' }))
  expect((await late).value.is).toBe('new')
  answer.resolve({ is: 'old' })
  expect((await early).value.is).toBe('old')
})

it('is read anew by who comes when it has been read for long', async () => {
  const { remembered } = rig()
  const answer = Promise.withResolvers<Value>()
  const early = remembered.readingOnce('a', () => answer.promise)
  await sleep(300)
  expect((await remembered.readingOnce('a', async () => ({ is: 'new' }))).value.is).toBe('new')
  answer.resolve({ is: 'old' })
  await early
})

it('is read anew after a reading that failed', async () => {
  const { remembered } = rig()
  const failing = () => remembered.readingOnce('a', () => Promise.reject(new Error('away')))
  await Promise.all([1, 2].map(() => expect(failing()).rejects.toThrow('away')))
  expect((await remembered.readingOnce('a', async () => ({ is: 'new' }))).value.is).toBe('new')
})
