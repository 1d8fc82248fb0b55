import { afterEach, expect, it, vi } from 'vitest'
import { createStateBoard } from '../../../proxy/internal/state-board.ts'
import { createUpstreamWords } from '../../../proxy/internal/upstream-words.ts'
import type { UpstreamRoute } from '../../../proxy/routes.ts'

const route = (more: Partial<UpstreamRoute> = {}): UpstreamRoute => ({
  kind: 'Upstream',
  namespace: 'default',
  name: 'hub',
  id: 'a'.repeat(64),
  origin: 'o',
  url: 'https://registry.example.com',
  revalidation: { policy: 'AfterValidity', validitySeconds: 60 },
  tokenServiceHosts: [],
  namespaceHosts: [],
  mode: 'Active',
  ...more,
})
afterEach(() => void vi.useRealTimers())

const away = { kind: 'unavailable', message: 'refused' }
const refusal = { kind: 'credentials-refused', message: 'no' }

function scene() {
  let at = 0
  let changes = 0
  const hub = route()
  const words = createUpstreamWords({ now: () => at, onChange: () => changes++ })
  words.retain([{ route: hub, revision: '1' }])
  return {
    ...{ words, hub },
    word: () => words.read()['default/hub'],
    pass: (ms: number) => {
      at += ms
    },
    changes: () => changes,
  }
}

it('has no word of an upstream that was not asked', () => {
  const { words, word } = scene()
  expect([word(), words.askedAt('default/hub')]).toEqual([undefined, undefined])
})

it('has the first answer and the first trouble at once', () => {
  const good = scene()
  good.words.tell(good.hub, undefined)
  expect(good.word()).toEqual({ id: good.hub.id, revision: '1' })
  const bad = scene()
  bad.words.tell(bad.hub, away)
  expect(bad.word()?.trouble).toEqual(away)
})

it('turns a good word at the third trouble in a row, and a bad one at the first answer', () => {
  const { words, hub, word, changes } = scene()
  words.tell(hub, undefined)
  words.tell(hub, away)
  words.tell(hub, away)
  words.tell(hub, undefined)
  words.tell(hub, away)
  words.tell(hub, away)
  expect([word()?.trouble, changes()]).toEqual([undefined, 1])
  words.tell(hub, away)
  expect(word()?.trouble).toEqual(away)
  words.tell(hub, undefined)
  expect([word()?.trouble, changes()]).toEqual([undefined, 3])
})

it('turns a good word when the trouble lasts, however seldom it is asked', () => {
  const { words, hub, word, pass } = scene()
  words.tell(hub, undefined)
  words.tell(hub, away)
  pass(5_000)
  words.tell(hub, away)
  expect(word()?.trouble).toEqual(away)
})

it('believes a refusal of credentials at once, and keeps it through other trouble until they are taken', () => {
  const { words, hub, word } = scene()
  words.tell(hub, undefined)
  words.tell(hub, refusal)
  expect(word()).toEqual({ id: hub.id, revision: '1', refused: 'no' })
  words.tell(hub, away)
  words.tell(hub, away)
  words.tell(hub, away)
  expect(word()).toMatchObject({ refused: 'no', trouble: away })
  words.tell(hub, undefined)
  expect(word()).toEqual({ id: hub.id, revision: '1' })
})

it('says nothing new while the same is met again', () => {
  const { words, hub, changes } = scene()
  for (let i = 0; i < 10; i++) words.tell(hub, { ...away, message: `${i}` })
  expect(changes()).toBe(1)
})

it('takes no word from a question that was put with an older document', () => {
  const { words, hub, word } = scene()
  const rotated = route()
  words.retain([{ route: rotated, revision: '2' }])
  words.tell(hub, refusal)
  expect([word(), words.askedAt('default/hub')]).toEqual([undefined, undefined])
  words.tell(rotated, undefined)
  expect(word()?.revision).toBe('2')
})

it('takes it from a question that was put before an equal document was read again', () => {
  const { words, hub, word } = scene()
  words.retain([{ route: route(), revision: '1' }])
  words.tell(hub, undefined)
  expect(word()?.revision).toBe('1')
})

it('forgets an upstream that is gone or another', () => {
  const { words, hub, word } = scene()
  words.tell(hub, undefined)
  words.retain([{ route: route({ id: 'b'.repeat(64) }), revision: '2' }])
  expect(word()).toBeUndefined()
})

it('tells that a bad word has run out that nobody repeated for a quarter of an hour, though nothing else happens', async () => {
  vi.useFakeTimers()
  const [hub, quay] = [route(), route({ name: 'quay' })]
  const words = createUpstreamWords({ now: () => performance.now(), onChange: () => board.changed() })
  const empty = { registries: {}, upstreams: {}, problems: {}, isReady: true, isDraining: false }
  const proxy = { id: 'p', version: '1' }
  const board = createStateBoard(() => ({ ...empty, proxy, health: words.read() }))
  const told = async () => Object.keys((await board.read(undefined, 0))!.health)
  words.retain([hub, quay].map((each) => ({ route: each, revision: '1' })))
  words.tell(hub, away)
  await vi.advanceTimersByTimeAsync(5 * 60_000)
  words.tell(quay, away)
  await vi.advanceTimersByTimeAsync(9 * 60_000)
  expect(await told()).toEqual(['default/hub', 'default/quay'])
  await vi.advanceTimersByTimeAsync(61_000)
  expect(await told()).toEqual(['default/quay'])
  await vi.advanceTimersByTimeAsync(5 * 60_000)
  expect(await told()).toEqual([])
  words.tell(hub, away)
  expect(await told()).toEqual(['default/hub'])
})

it('keeps a bad word for as long as it is repeated, and a good one', async () => {
  vi.useFakeTimers()
  const [hub, quay] = [route(), route({ name: 'quay' })]
  const words = createUpstreamWords({ now: () => performance.now(), onChange: () => {} })
  words.retain([hub, quay].map((each) => ({ route: each, revision: '1' })))
  words.tell(quay, undefined)
  for (let i = 0; i < 5; i++) {
    words.tell(hub, away)
    await vi.advanceTimersByTimeAsync(10 * 60_000)
  }
  expect(Object.keys(words.read()).toSorted()).toEqual(['default/hub', 'default/quay'])
})
