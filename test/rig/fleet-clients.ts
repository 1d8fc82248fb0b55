import { createHash } from 'node:crypto'
import { type Agent, get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

export interface FleetPull {
  readonly host: string
  readonly status: number | undefined
  readonly digest: string
  readonly bytes: number
  readonly firstByteMs: number
  readonly totalMs: number
  /** The longest it waited for its first byte or for any byte after another. */
  readonly longestWaitMs: number
  /** Undefined for an answer that ended well. */
  readonly error: string | undefined
}

export interface PullOptions {
  /** A connection of its own where unset. */
  readonly agent?: Agent
  /** As fast as it comes where unset. */
  readonly bytesPerSecond?: number
}

/** One client that reads a blob to its end. Never rejects. */
export function pullFrom(
  host: string,
  path: string,
  { agent, ...slower }: PullOptions = {},
): Promise<FleetPull> {
  const { bytesPerSecond } = slower
  const started = performance.now()
  const hash = createHash('sha256')
  let bytes = 0
  let firstByteMs = Number.POSITIVE_INFINITY
  let last = started
  let longestWaitMs = 0
  let status: number | undefined

  return new Promise((resolve) => {
    const finish = (error: string | undefined) => {
      const totalMs = performance.now() - started
      const digest = `sha256:${hash.copy().digest('hex')}`
      resolve({ host, status, digest, bytes, firstByteMs, totalMs, longestWaitMs, error })
    }
    const request = get(`http://${host}${path}`, { agent: agent ?? false }, (response) => {
      status = response.statusCode
      response.on('data', (chunk: Buffer) => {
        const now = performance.now()
        if (bytes === 0) firstByteMs = now - started
        longestWaitMs = Math.max(longestWaitMs, now - last)
        last = now
        bytes += chunk.length
        hash.update(chunk)
        if (bytesPerSecond !== undefined) {
          response.pause()
          setTimeout(() => response.resume(), (chunk.length / bytesPerSecond) * 1000)
        }
      })
      response.once('end', () => finish(response.complete ? undefined : 'cut'))
      response.once('error', (error) => finish(error.message))
    })
    request.once('error', (error) => {
      // closed while it lay idle, as any server may: every client tries that again
      if (request.reusedSocket && status === undefined) resolve(pullFrom(host, path, slower))
      else finish(error.message)
    })
  })
}

/** Between two pulls of one client of a load: replicas are to be busy, not the machine. */
const pauseMs = 25

/** Each of these pulls again soon after it has ended, until the load is stopped. */
export function startLoad(pulls: readonly (() => Promise<FleetPull>)[]): {
  readonly done: readonly FleetPull[]
  stop(): Promise<readonly FleetPull[]>
} {
  const done: FleetPull[] = []
  let going = true
  const running = Promise.all(
    pulls.map(async (pull) => {
      while (going) {
        done.push(await pull())
        await sleep(pauseMs)
      }
    }),
  )
  return {
    done,
    async stop() {
      going = false
      await running
      return done
    },
  }
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
