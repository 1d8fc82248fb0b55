import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ApiError } from '../../../operator/runtime/api-error.ts'
import { createKubernetesClient } from '../../../operator/runtime/kubernetes-client.ts'
import type { Stored } from '../../../operator/runtime/object-store.ts'
import {
  createReflector,
  type Reflector,
  type ReflectorOptions,
} from '../../../operator/runtime/reflector.ts'
import { customSource } from '../../../operator/runtime/sources.ts'
import { type Answer, type FakeApiServer, startFakeApiServer } from './fake-api-server.ts'

interface Thing extends Stored {
  readonly colour?: string
}

describe('a reflector', () => {
  let server: FakeApiServer
  let ending: AbortController
  let running: Promise<void> | undefined
  let waits: number[]
  let failures: string[]
  let recoveries: number

  beforeEach(async () => {
    server = await startFakeApiServer({ pageSize: 2 })
    ending = new AbortController()
    waits = []
    failures = []
    recoveries = 0
  })
  afterEach(async () => {
    ending.abort()
    await running
    await server.close()
  })

  function start(options: Partial<ReflectorOptions<Thing>> & { silenceMs?: number } = {}): Reflector<Thing> {
    const { silenceMs = 60_000, ...rest } = options
    const client = createKubernetesClient({ kubeConfig: server.kubeConfig, userAgent: 'test/1', silenceMs })
    const reflector = createReflector<Thing>({
      source: customSource(client, 'upstreams', { namespace: undefined }),
      transform: (raw) => raw as Thing,
      pageSize: 2,
      random: () => 0,
      sleep: async (ms, signal) => {
        waits.push(ms)
        await sleep(Math.min(ms, 20), undefined, { signal }).catch(() => {})
      },
      onFailure: (error) => failures.push((error as Error).message),
      onRecovery: () => {
        recoveries += 1
      },
      ...rest,
    })
    running = reflector.run(ending.signal)
    return reflector
  }
  const names = ({ store }: Reflector<Thing>) =>
    [...store.values()].map(({ metadata }) => metadata.name).toSorted()
  const count = (kind: 'list' | 'watch') => server.requests.filter((request) => request.kind === kind).length

  it('reads the list in pages and then watches from where it was read, asking for bookmarks', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) server.put(name)
    const reflector = start()
    await reflector.synced
    expect(names(reflector)).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect(count('list')).toBe(3)
    await expect.poll(() => server.watches()).toBe(1)
    const { query, headers } = server.requests.at(-1)!
    expect(Object.fromEntries(query)).toMatchObject({
      watch: 'true',
      resourceVersion: '15',
      allowWatchBookmarks: 'true',
      timeoutSeconds: '300',
    })
    expect(headers['user-agent']).toBe('test/1')
  })

  it('sees what is added, changed and deleted', async () => {
    const reflector = start()
    const seen: string[] = []
    reflector.store.onChange((key, previous, current) =>
      seen.push(`${key} ${previous?.colour ?? '-'} ${current?.colour ?? '-'}`),
    )
    await expect.poll(() => server.watches()).toBe(1)
    server.put('a', { colour: 'red' })
    server.put('a', { colour: 'blue' })
    server.remove('a')
    await expect.poll(() => seen).toEqual(['default/a - red', 'default/a red blue', 'default/a blue -'])
  })

  it('K3: watches on from the last version when a watch ends in order, and reads no list', async () => {
    start({ now: steps(2000) })
    await expect.poll(() => server.watches()).toBe(1)
    server.put('a')
    server.send({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '99' } } })
    await sleep(50)
    server.endWatches()
    await expect.poll(() => count('watch')).toBe(2)
    expect(server.requests.at(-1)!.query.get('resourceVersion')).toBe('99')
    expect([count('list'), waits]).toEqual([1, []])
  })

  it('does not ask in a circle when watches end at once', async () => {
    start()
    await expect.poll(() => server.watches()).toBe(1)
    for (let round = 1; round <= 3; round++) {
      server.endWatches()
      await expect.poll(() => count('watch')).toBe(round + 1)
      await expect.poll(() => server.watches()).toBe(1)
    }
    expect(waits).toEqual([125, 250, 500])
  })

  it('K3: notices what was deleted while no watch was there', async () => {
    server.put('a')
    server.put('b')
    const reflector = start()
    await expect.poll(() => server.watches()).toBe(1)
    server.remove('a', { silently: true })
    server.put('c')
    server.send({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })
    await expect.poll(() => names(reflector)).toEqual(['b', 'c'])
  })

  it.each<[string, () => void]>([
    ['410 as a status', () => server.fail('watch', 1, { status: 410, reason: 'Expired' })],
    ['410 in the stream', () => {}],
  ])('K5: reads the list anew after %s', async (_title, prepare) => {
    const reflector = start({ now: steps(2000) })
    await expect.poll(() => server.watches()).toBe(1)
    prepare()
    if (_title === '410 in the stream') {
      server.send({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })
    } else server.endWatches()
    await expect.poll(() => count('list')).toBe(2)
    server.objects.clear()
    server.put('late')
    await expect.poll(() => names(reflector)).toEqual(['late'])
  })

  it('reads everything at once when the server forgot a list half way', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) server.put(name)
    server.fail('list', 1, 'pass')
    server.fail('list', 1, { status: 410, reason: 'Expired' })
    const reflector = start()
    await reflector.synced
    expect(names(reflector)).toHaveLength(5)
    expect(server.requests.map(({ query }) => query.get('limit')).slice(0, 3)).toEqual(['2', '2', null])
    expect(waits).toEqual([])
  })

  it('comes back after a connection that was cut in the middle of a line, without a list', async () => {
    const reflector = start()
    await expect.poll(() => server.watches()).toBe(1)
    server.resetWatches()
    await expect.poll(() => server.watches()).toBe(1)
    server.put('after')
    await expect.poll(() => names(reflector)).toEqual(['after'])
    expect([count('list'), count('watch')]).toEqual([1, 2])
    expect(failures).toHaveLength(1)
    await expect.poll(() => recoveries).toBe(1)
  })

  it('K4: takes a watch that is silent for too long for dead', async () => {
    const reflector = start({ silenceMs: 200 })
    await expect.poll(() => server.watches()).toBe(1)
    await expect.poll(() => count('watch')).toBeGreaterThan(1)
    server.put('seen')
    await expect.poll(() => names(reflector)).toEqual(['seen'])
  })

  it('K4: gives a watch up that is never answered', async () => {
    server.fail('watch', 1, 'never')
    const reflector = start({ silenceMs: 200 })
    await expect.poll(() => server.watches()).toBe(1)
    server.put('seen')
    await expect.poll(() => names(reflector)).toEqual(['seen'])
  })

  it.each<[Answer, string]>([
    [{ status: 403, reason: 'Forbidden' }, '403 Forbidden: no: Forbidden'],
    [{ status: 404, reason: 'NotFound' }, '404 NotFound'],
    [{ status: 500, reason: 'InternalError' }, '500 InternalError'],
    [{ status: 401, reason: 'Unauthorized' }, '401 Unauthorized'],
    ['reset', 'the API server cannot be reached: UND_ERR_SOCKET'],
  ])(
    'waits longer each time for a list that fails with %j, tells of it once, and gets there',
    async (answer, message) => {
      server.put('a')
      server.fail('list', 4, answer)
      const reflector = start()
      await reflector.synced
      expect(names(reflector)).toEqual(['a'])
      expect(waits).toEqual([125, 250, 500, 1000])
      expect(failures.filter((each) => each === message || each.startsWith('the API'))).toHaveLength(1)
      expect(recoveries).toBe(1)
    },
  )

  it('K6 and K22: keeps what it has while lists are refused', async () => {
    server.put('a')
    const reflector = start()
    await expect.poll(() => server.watches()).toBe(1)
    server.fail('list', 3, { status: 403, reason: 'Forbidden' })
    server.send({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })
    await expect.poll(() => count('list')).toBeGreaterThan(3)
    expect(names(reflector)).toEqual(['a'])
    await expect.poll(() => count('watch')).toBe(2)
    expect(names(reflector)).toEqual(['a'])
  })

  it('K6: waits for as long as a 429 says', async () => {
    server.fail('list', 1, { status: 429, headers: { 'retry-after': '1' }, reason: 'TooManyRequests' })
    const begun = performance.now()
    const reflector = start()
    await reflector.synced
    expect(performance.now() - begun).toBeGreaterThan(990)
    expect(count('list')).toBe(2)
  })

  it('reads the list after three watches that failed blindly', async () => {
    server.fail('watch', 3, { status: 504, reason: 'Timeout' })
    start()
    await expect.poll(() => server.watches()).toBe(1)
    expect([count('watch'), count('list')]).toEqual([4, 2])
  })

  it('K8: keeps the newest of what comes twice, late or out of order', async () => {
    const reflector = start()
    await expect.poll(() => server.watches()).toBe(1)
    const object = (resourceVersion: string, colour: string) => ({
      colour,
      metadata: { namespace: 'default', name: 'a', uid: 'u', resourceVersion },
    })
    server.send({ type: 'ADDED', object: object('20', 'old') })
    server.send({ type: 'MODIFIED', object: object('100', 'new') })
    server.send({ type: 'MODIFIED', object: object('30', 'late') })
    server.send({ type: 'DELETED', object: object('40', 'late') })
    server.send({ type: 'UNHEARD-OF', object: {} })
    await sleep(100)
    expect(reflector.store.get('default/a')?.colour).toBe('new')
  })

  it('takes the answer to a write ahead of the watch, but not of what the watch has told the end of', async () => {
    const reflector = start()
    await expect.poll(() => server.watches()).toBe(1)
    const object = (name: string, resourceVersion: string) => ({
      metadata: { namespace: 'default', name, uid: 'u', resourceVersion },
    })
    reflector.put(object('ahead', '100'))
    server.send({ type: 'ADDED', object: object('deleted', '101') })
    server.send({ type: 'DELETED', object: object('deleted', '103') })
    server.send({ type: 'ADDED', object: object('last', '104') })
    await expect.poll(() => names(reflector)).toEqual(['ahead', 'last'])
    reflector.put(object('deleted', '102'))
    expect(names(reflector)).toEqual(['ahead', 'last'])
    reflector.put(object('deleted', '105')) // made anew
    expect(names(reflector)).toEqual(['ahead', 'deleted', 'last'])
  })

  it.each([410, 500, 504])(
    'waits longer each time for watches that begin with the error %i, and reads the list of them',
    async (code) => {
      start({ now: () => 0 })
      for (let round = 1; round <= 6; round++) {
        await expect.poll(() => server.watches()).toBe(1)
        server.send({ type: 'ERROR', object: { kind: 'Status', code, reason: 'Expired' } })
        await expect.poll(() => count('watch')).toBe(round + 1)
      }
      expect(waits).toEqual([125, 250, 500, 1000, 2000, 4000])
      expect(count('list')).toBe(code === 410 ? 7 : 3)
    },
  )

  it('takes a list for right when the server went back in time', async () => {
    server.version = 5000
    server.put('a', { colour: 'lost' })
    const reflector = start()
    await expect.poll(() => server.watches()).toBe(1)
    server.version = 20
    server.objects.clear()
    server.put('a', { colour: 'restored' })
    server.send({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })
    await expect.poll(() => reflector.store.get('default/a')?.colour).toBe('restored')
  })

  it('K2: asks a few times a minute while there is no API server for an hour, and not all at once when it is back', async () => {
    const ends = await Promise.all(Array.from({ length: 100 }, () => outage(3_600_000)))
    for (const { requests } of ends) expect(requests).toBeLessThan(400)
    const perSecond = Map.groupBy(ends, ({ backAtMs }) => Math.floor(backAtMs / 1000))
    expect(Math.max(...[...perSecond.values()].map(({ length }) => length))).toBeLessThan(25)
    expect(Math.max(...ends.map(({ backAtMs }) => backAtMs))).toBeLessThan(3_621_000)
  })

  it('leaves no watch behind when it is stopped while one is being made', async () => {
    const reflector = start()
    await reflector.synced
    ending.abort()
    await running
    await sleep(100)
    expect(server.watches()).toBe(0)
  })
})

/** A clock that is so much later each time it is read. */
function steps(by: number): () => number {
  let time = 0
  return () => {
    time += by
    return time
  }
}

/** A reflector by a clock of its own that lives through an outage: how often it asked, and when it was back. */
async function outage(lastsMs: number): Promise<{ requests: number; backAtMs: number }> {
  let nowMs = 0
  let requests = 0
  const ending = new AbortController()
  const reflector = createReflector<Thing>({
    source: {
      name: 'things',
      async list() {
        requests += 1
        if (nowMs < lastsMs) throw new ApiError(undefined, 'ECONNREFUSED')
        return { items: [], resourceVersion: '1', continueToken: undefined }
      },
      watch: (_options, _onEvent, signal) =>
        new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
    },
    transform: (raw) => raw as Thing,
    now: () => nowMs,
    async sleep(ms) {
      nowMs += ms
    },
  })
  const running = reflector.run(ending.signal)
  await reflector.synced
  ending.abort()
  await running
  return { requests, backAtMs: nowMs }
}
