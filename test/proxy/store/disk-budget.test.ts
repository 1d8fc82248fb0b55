import { describe, expect, it } from 'vitest'
import { bytesOnDisk, createDiskBudget } from '../../../proxy/store/disk-budget.ts'

describe('a budget of bytes on disk', () => {
  it('without a limit only counts', async () => {
    const budget = createDiskBudget({ maxBytes: undefined })
    expect(await budget.take(1e15)).toBe(true)
    budget.charge(-5e14)
    expect(budget.used()).toBe(5e14)
    expect(budget.limited).toBe(false)
  })

  it('gives what there is and no more', async () => {
    const budget = createDiskBudget({ maxBytes: 100 })
    expect(await budget.take(60)).toBe(true)
    expect(await budget.take(41)).toBe(false)
    expect(await budget.take(40)).toBe(true)
    expect(budget.used()).toBe(100)
  })

  it('evicts as much as is needed, and nothing when that would not do', async () => {
    const { budget, evicted } = evicting([30, 30, 30])
    expect(await budget.take(101)).toBe(false)
    expect(evicted()).toBe(0)
    expect(await budget.take(45)).toBe(true)
    expect(evicted()).toBe(2)
    expect(budget.used()).toBe(30 + 45)
  })

  it('never gives to one what is being evicted for another', async () => {
    const { budget } = evicting([30, 30, 30])
    const taken = await Promise.all([95, 10, 5].map((bytes) => budget.take(bytes)))
    expect(taken).toEqual([true, false, true])
    expect(budget.used()).toBe(100)
  })

  it('comes down to the limit when what is there already is more', async () => {
    const { budget, evicted } = evicting([30, 30, 30])
    budget.charge(50)
    await budget.trim()
    expect(evicted()).toBe(2)
    budget.charge(500)
    await budget.trim()
    expect(evicted()).toBe(3)
  })

  it('goes on after an eviction that failed', async () => {
    const budget = createDiskBudget({ maxBytes: 10 })
    budget.charge(10)
    budget.evictWith({ evictable: () => 10, evictOne: () => Promise.reject(new Error('EIO')) })
    await expect(budget.take(5)).rejects.toThrow('EIO')
    budget.charge(-5)
    expect(await budget.take(5)).toBe(true)
  })

  it('counts whole blocks and a name', () => {
    expect(bytesOnDisk(0)).toBeGreaterThanOrEqual(4096)
    expect(bytesOnDisk(4097) - bytesOnDisk(4096)).toBe(4096)
  })
})

/** A limit of 100 bytes, taken up by things that can be evicted, slowly. */
function evicting(sizes: number[]) {
  const budget = createDiskBudget({ maxBytes: 100 })
  const left = [...sizes]
  for (const size of sizes) budget.charge(size)
  budget.evictWith({
    evictable: () => left.reduce((sum, size) => sum + size, 0),
    async evictOne() {
      const size = left.shift()
      await new Promise((resolve) => setImmediate(resolve))
      if (size !== undefined) budget.charge(-size)
      return size !== undefined
    },
  })
  return { budget, evicted: () => sizes.length - left.length }
}
