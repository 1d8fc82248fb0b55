import { expect, it } from 'vitest'
import { countOf } from '../../../proxy/internal/cache-counts.ts'

async function* each<T>(items: readonly T[]) {
  yield* items
}

it('counts tags and manifests as entries, and the bytes of all that is linked', async () => {
  const link = (kind: 'manifest' | 'blob', size: number) => ({ key: { kind }, entry: { size } })
  const index = {
    listTags: () => each([{}, {}]),
    listLinks: () => each([link('manifest', 10), link('blob', 1000), link('blob', 2000)]),
  }
  expect(await countOf(index, 'id')).toEqual({ entries: 3, bytes: 3010 })
})

it('lets others have their turn', async () => {
  const link = { key: { kind: 'blob' as const }, entry: { size: 1 } }
  const index = { listTags: () => each([]), listLinks: () => each(Array.from({ length: 2000 }, () => link)) }
  let turns = 0
  let isOver = false
  const count = () => {
    turns++
    if (!isOver) setImmediate(count)
  }
  setImmediate(count)
  expect(await countOf(index, 'id')).toEqual({ entries: 0, bytes: 2000 })
  isOver = true
  expect(turns).toBeGreaterThan(5)
})
