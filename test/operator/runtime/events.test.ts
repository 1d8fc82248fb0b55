import type { EventsV1Event } from '@kubernetes/client-node'
import { expect, it } from 'vitest'
import { ApiError } from '../../../operator/runtime/api-error.ts'
import { createEventRecorder, type EventSink, type Happening } from '../../../operator/runtime/events.ts'

const regarding = {
  apiVersion: 'headwater.dev/v1alpha1',
  kind: 'Upstream',
  namespace: 'team-a',
  name: 'hub',
  uid: 'u',
}
const bad: Happening = { type: 'Warning', reason: 'RefNotFound', action: 'Judge', note: 'there is no Secret' }

function recorderOf({ fails = false, mayWrite = (): boolean => true } = {}) {
  const created: EventsV1Event[] = []
  const repeated: { name: string; count: number }[] = []
  const failures: unknown[] = []
  const clock = { now: new Date('2026-11-22T06:00:00.123Z') }
  const sink: EventSink = {
    async create(event) {
      if (fails) throw new ApiError(403, 'Forbidden')
      created.push(event)
      return event
    },
    async repeat(_namespace, name, { count }) {
      if (fails) throw new ApiError(404, 'NotFound')
      repeated.push({ name, count })
    },
  }
  const recorder = createEventRecorder({
    ...{ sink, controller: 'headwater.dev/operator', instance: 'x'.repeat(200), mayWrite },
    now: () => clock.now,
    onFailure: (error) => failures.push(error),
  })
  return { recorder, created, repeated, failures, clock }
}

it('writes an event as the API server takes it', async () => {
  const { recorder, created } = recorderOf()
  recorder.record(regarding, { ...bad, note: 'y'.repeat(2000) })
  await recorder.flush()
  const [event] = created as [EventsV1Event]
  expect(event).toMatchObject({
    reportingController: 'headwater.dev/operator',
    reason: 'RefNotFound',
    regarding,
  })
  expect(event.metadata?.name).toMatch(/^hub\.[0-9a-f]+$/)
  expect([event.reportingInstance?.length, event.note?.length]).toEqual([128, 1024])
  expect(event.eventTime?.toISOString()).toBe('2026-11-22T06:00:00.123000Z')
})

it('cuts a note to the bytes that the API server takes, and no character in two', async () => {
  const { recorder, created } = recorderOf()
  recorder.record(regarding, { ...bad, note: 'ä€'.repeat(500) })
  await recorder.flush()
  expect(created[0]?.note).toBe(`${'ä€'.repeat(204)}ä`)
})

it('folds what happens again into a series, but not after six minutes, nor something else', async () => {
  const { recorder, created, repeated, clock } = recorderOf()
  recorder.record(regarding, bad)
  recorder.record(regarding, bad)
  recorder.record(regarding, bad)
  recorder.record(regarding, { ...bad, note: 'another' })
  recorder.record({ ...regarding, uid: 'v' }, bad)
  await recorder.flush()
  expect([created.length, repeated.map(({ count }) => count).at(-1)]).toEqual([3, 3])
  expect(repeated[0]!.name).toBe(created[0]!.metadata?.name)
  clock.now = new Date(clock.now.getTime() + 7 * 60_000)
  recorder.record(regarding, bad)
  await recorder.flush()
  expect(created).toHaveLength(4)
})

it('hangs on nothing and is bounded when events cannot be written', async () => {
  const { recorder, failures } = recorderOf({ fails: true })
  for (let number = 0; number < 2000; number++) recorder.record(regarding, { ...bad, note: String(number) })
  recorder.record(regarding, bad)
  await recorder.flush()
  expect(failures).toHaveLength(500)
})

it('writes nothing where somebody else may lead', async () => {
  const { recorder, created } = recorderOf({ mayWrite: () => false })
  recorder.record(regarding, bad)
  await recorder.flush()
  expect(created).toEqual([])
})
