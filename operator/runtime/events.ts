import {
  type EventsV1Api,
  type EventsV1Event,
  PatchStrategy,
  setHeaderOptions,
  V1MicroTime,
} from '@kubernetes/client-node'
import { isStatus, toApiError } from './api-error.ts'

export interface Regarding {
  readonly apiVersion: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

export interface Happening {
  readonly type: 'Normal' | 'Warning'
  /** CamelCase, one word for one thing. */
  readonly reason: string
  /** What was done, as a CamelCase verb. */
  readonly action: string
  readonly note: string
}

export interface EventRecorder {
  /** Returns at once. What cannot be written is lost: nothing may hang on an event. */
  record(regarding: Regarding, happening: Happening): void
  /** Waits for what is under way. */
  flush(): Promise<void>
}

export interface EventSink {
  create(event: EventsV1Event): Promise<EventsV1Event>
  /** Adds to an event that it happened again. */
  repeat(
    namespace: string,
    name: string,
    series: { count: number; lastObservedTime: V1MicroTime },
  ): Promise<void>
}

export interface EventRecorderOptions {
  readonly sink: EventSink
  readonly controller: string
  readonly instance: string
  readonly now?: () => Date
  readonly mayWrite?: () => boolean
  onFailure?(error: unknown): void
}

/** As long as client-go joins what is alike into one event. */
const seriesMs = 6 * 60_000
const maxSeries = 1000
const maxPending = 500
/** In bytes. */
const longestNote = 1024

interface Series {
  readonly namespace: string
  /** Undefined until it was written, or when it could not be. */
  name: string | undefined
  count: number
  last: number
}

export function createEventRecorder({
  sink,
  controller,
  instance,
  now = () => new Date(),
  mayWrite = () => true,
  onFailure = () => {},
}: EventRecorderOptions): EventRecorder {
  /** In the order of use, the least recent first. */
  const known = new Map<string, Series>()
  let pending = 0
  let chain: Promise<void> = Promise.resolve()
  let serial = 0

  function enqueue(write: () => Promise<void>): void {
    if (pending >= maxPending) return
    pending += 1
    chain = chain.then(async () => {
      try {
        if (mayWrite()) await write()
      } catch (error) {
        onFailure(toApiError(error))
      } finally {
        pending -= 1
      }
    })
  }

  return {
    record(regarding, { type, reason, action, note }) {
      const time = now()
      const key = JSON.stringify([regarding.uid, type, reason, action, note])
      const earlier = known.get(key)
      known.delete(key)
      if (earlier !== undefined && time.getTime() - earlier.last < seriesMs) {
        earlier.count += 1
        earlier.last = time.getTime()
        known.set(key, earlier)
        enqueue(async () => {
          if (earlier.name === undefined) return
          await sink
            .repeat(earlier.namespace, earlier.name, {
              count: earlier.count,
              lastObservedTime: new V1MicroTime(time),
            })
            .catch((error: unknown) => {
              if (!isStatus(error, 404)) throw error // gone, as events go after an hour
              known.delete(key)
            })
        })
        return
      }
      const series: Series = {
        namespace: regarding.namespace,
        name: undefined,
        count: 1,
        last: time.getTime(),
      }
      known.set(key, series)
      if (known.size > maxSeries) known.delete(known.keys().next().value!)
      const name = `${regarding.name}.${time.getTime().toString(16)}${(serial++ % 4096).toString(16).padStart(3, '0')}`
      enqueue(async () => {
        await sink.create({
          metadata: { name, namespace: regarding.namespace },
          eventTime: new V1MicroTime(time),
          reportingController: controller,
          reportingInstance: instance.slice(0, 128),
          action,
          reason,
          type,
          regarding,
          note: cut(note),
        })
        series.name = name
      })
    },
    flush: () => chain,
  }
}

/** Never within a character. */
function cut(note: string): string {
  const { read } = new TextEncoder().encodeInto(note, new Uint8Array(longestNote))
  return note.slice(0, read)
}

export function createEventSink(api: EventsV1Api): EventSink {
  return {
    create: (body) =>
      api.createNamespacedEvent({ namespace: body.metadata?.namespace ?? '', body }).catch(rethrow),
    async repeat(namespace, name, series) {
      const body = { series: { ...series, lastObservedTime: series.lastObservedTime.toISOString() } }
      const options = setHeaderOptions('Content-Type', PatchStrategy.MergePatch)
      await api.patchNamespacedEvent({ namespace, name, body }, options).catch(rethrow)
    },
  }
}

function rethrow(error: unknown): never {
  throw toApiError(error)
}
