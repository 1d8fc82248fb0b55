import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { ApiError } from '../../../operator/runtime/api-error.ts'
import { createController } from '../../../operator/runtime/controller.ts'
import { createWorkQueue } from '../../../operator/runtime/work-queue.ts'

describe('a work queue', () => {
  it('hands a key out once, however often it was added', async () => {
    const queue = createWorkQueue()
    for (const key of ['a', 'b', 'a', 'a']) queue.add(key)
    expect([queue.depth, await queue.take(), await queue.take(), queue.depth]).toEqual([2, 'a', 'b', 0])
  })

  it('hands no key to two workers, and hands it out again when it was added meanwhile', async () => {
    const queue = createWorkQueue()
    queue.add('a')
    await queue.take()
    queue.add('a')
    queue.add('a')
    let second: string | undefined
    const taking = queue.take().then((key) => {
      second = key
    })
    await sleep(20)
    expect(second).toBeUndefined()
    queue.done('a')
    await taking
    expect([second, queue.depth]).toEqual(['a', 0])
    queue.done('a')
    queue.done('never taken')
  })

  it('waits longer after each failure of a key, until it is forgotten', async () => {
    const queue = createWorkQueue({ baseMs: 20, maxMs: 500, random: () => 1 })
    const waits: number[] = []
    for (const wantedMs of [20, 40, 80, 160, 320, 500]) {
      const begun = performance.now()
      queue.retry('a')
      queue.done((await queue.take())!)
      waits.push(performance.now() - begun - wantedMs)
    }
    expect(Math.min(...waits)).toBeGreaterThan(-2)
    queue.forget('a')
    const begun = performance.now()
    queue.retry('a')
    await queue.take()
    expect(performance.now() - begun).toBeLessThan(450)
  })

  it('does not let a wait hold back what is added now, and keeps the earlier of two', async () => {
    const queue = createWorkQueue()
    queue.addAfter('a', 60_000)
    queue.addAfter('a', 30)
    queue.addAfter('a', 60_000)
    expect(await queue.take()).toBe('a')
    queue.done('a')
    queue.addAfter('b', 60_000)
    queue.add('b')
    expect(await queue.take()).toBe('b')
    queue.addAfter('c', 0)
    expect(await queue.take()).toBe('c')
    expect(queue.unfinished().longestMs).toBeGreaterThanOrEqual(0)
  })

  it('hands nothing out once it is closed', async () => {
    const queue = createWorkQueue()
    const waiting = queue.take()
    queue.addAfter('later', 10)
    queue.close()
    queue.add('a')
    queue.addAfter('b', 1)
    expect([await waiting, await queue.take(), queue.depth]).toEqual([undefined, undefined, 0])
  })
})

describe('a controller', () => {
  it('works on each key by one worker at a time, on several keys at once, and ends when it is told to', async () => {
    const at = new Map<string, number>()
    let most = 0
    let total = 0
    const ending = new AbortController()
    const controller = createController({
      workers: 3,
      async reconcile(key) {
        at.set(key, (at.get(key) ?? 0) + 1)
        expect(at.get(key)).toBe(1)
        most = Math.max(most, [...at.values()].filter((count) => count > 0).length)
        await sleep(5)
        at.set(key, 0)
        total += 1
      },
    })
    const running = controller.run(ending.signal)
    for (let round = 0; round < 5; round++) {
      for (const key of ['a', 'b', 'c', 'd']) controller.queue.add(key)
      await sleep(3)
    }
    await sleep(50)
    ending.abort()
    await running
    expect(most).toBe(3)
    expect(total).toBeGreaterThanOrEqual(4)
  })

  it('tries again what failed, tells of it but for a conflict, and honours Retry-After', async () => {
    const failures: unknown[] = [
      new ApiError(409, 'Conflict'),
      new ApiError(429, 'Busy', { retryAfterSeconds: 0.1 }),
      new Error('bug'),
    ]
    const told: string[] = []
    const results: string[] = []
    const ending = new AbortController()
    const done = Promise.withResolvers<void>()
    const times: number[] = []
    const controller = createController({
      workers: 1,
      random: () => 0,
      onError: (_key, error) => told.push((error as Error).message),
      observe: {
        ...{ added() {}, taken() {}, done() {}, retried() {}, activeWorkers() {} },
        reconciled: (result) => results.push(result),
      },
      async reconcile() {
        times.push(performance.now())
        const failure = failures.shift()
        if (failure) throw failure
        done.resolve()
      },
    })
    const running = controller.run(ending.signal)
    controller.queue.add('a')
    await done.promise
    ending.abort()
    await running
    expect(results).toEqual(['requeue_after', 'error', 'error', 'success'])
    expect(told).toEqual(['429 Busy', 'bug'])
    expect(times[2]! - times[1]!).toBeGreaterThan(95)
  })
})
