import { expect, it } from 'vitest'
import { createStateBoard } from '../../../proxy/internal/state-board.ts'

function scene() {
  const said = { isReady: true, registries: {} as Record<string, string> }
  const board = createStateBoard(
    () => ({
      proxy: { id: 'one', version: '1' },
      ...{ isReady: said.isReady, isDraining: false },
      ...{ registries: { ...said.registries }, upstreams: {}, problems: {}, health: {}, cache: {} },
    }),
    { gather: 1 },
  )
  return { said, board }
}

it('answers at once to who knows nothing, or something else', async () => {
  const { board } = scene()
  const state = await board.read(undefined, 0)
  expect(state?.version).toMatch(/^[0-9a-f]{32}$/)
  expect(await board.read('other', 60_000)).toEqual(state)
})

it('has the same version for the same content, and another for another', async () => {
  const { said, board } = scene()
  const first = await board.read(undefined, 0)
  board.changed()
  expect(await board.read(undefined, 0)).toEqual(first)
  said.isReady = false
  board.changed()
  expect((await board.read(undefined, 0))?.version).not.toBe(first?.version)
})

it('waits for another version, not for a change that changes nothing', async () => {
  const { said, board } = scene()
  const first = await board.read(undefined, 0)
  const waiting = board.read(first?.version, 60_000)
  board.changed()
  const early = await Promise.race([waiting, new Promise((resolve) => setTimeout(resolve, 20, 'waits'))])
  expect(early).toBe('waits')
  said.registries['default/all'] = 'r1'
  board.changed()
  expect((await waiting)?.registries).toEqual({ 'default/all': 'r1' })
})

it('gives up after so long', async () => {
  const { board } = scene()
  const first = await board.read(undefined, 0)
  expect(await board.read(first?.version, 10)).toBeUndefined()
})

it('has no more than a hundred wait', async () => {
  const { board, said } = scene()
  const first = await board.read(undefined, 0)
  const waiting = Array.from({ length: 100 }, () => board.read(first?.version, 60_000))
  expect(await board.read(first?.version, 60_000)).toBeUndefined()
  said.isReady = false
  board.changed()
  expect(await Promise.all(waiting)).toHaveLength(100)
})
