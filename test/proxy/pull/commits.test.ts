import { expect, it } from 'vitest'
import { createCommits } from '../../../proxy/pull/commits.ts'
import { StoreUnavailableError } from '../../../proxy/store/breaker.ts'
import { recorder } from './fill-rig.ts'

function create() {
  const told: string[] = []
  const done: string[] = []
  const observer = { ...recorder([]), storeFailure: (operation: string) => void told.push(operation) }
  const commits = createCommits(observer)
  /** Fails so many times. */
  function failing(name: string, times: number, error: Error = new StoreUnavailableError('S3 is away')) {
    return async () => {
      if (times-- > 0) throw error
      done.push(name)
    }
  }
  return { commits, told, done, failing }
}

it('does again what a store that was away for a moment did not take, before all that came after it', async () => {
  const { commits, told, done, failing } = create()
  commits.add('manifest', 'here', failing('manifest', 2))
  commits.add('tag', 'here', failing('tag', 0))
  commits.add('tag', 'elsewhere', failing('elsewhere', 0))
  await expect.poll(() => done, { timeout: 5_000 }).toEqual(['elsewhere', 'manifest', 'tag'])
  expect(told).toEqual([])
})

it('tells of all else, and goes on', async () => {
  const { commits, told, done, failing } = create()
  commits.add('manifest', 'here', failing('manifest', 1, new Error('EIO')))
  commits.add('tag', 'here', failing('tag', 0))
  await expect.poll(() => done).toEqual(['tag'])
  expect(told).toEqual(['manifest'])
})

it('does nothing again at the end, or where much waits already', async () => {
  const { commits, told, done, failing } = create()
  for (let n = 0; n < 150; n++) commits.add(`tag ${n}`, 'here', failing(`tag ${n}`, 1))
  await expect.poll(() => told.length).toBe(50)
  await commits.settled()
  // some were waiting to be done again when the end came
  expect(told.length).toBeGreaterThan(130)
  expect(told.length + done.length).toBe(150)
})
