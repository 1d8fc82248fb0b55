import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, collectDefaultMetrics, Gauge, Registry } from '@prometheus-io/client'
import type { SweepObserver } from './cleanup/sweep.ts'
import { type Cell, cells, type Timing, timings } from './metric-series.ts'
import type { Observer } from './observer.ts'

/** What the edge counts. Ask for a cell once and keep it: it stays the same for the same labels. */
export interface EdgeMetrics {
  requests(registry: string, kind: string, outcome: string): Cell
  servedBytes(source: string): Cell
  duration(kind: string, outcome: string): Timing
  firstByte(kind: string): Timing
}

export interface Metrics extends Observer, EdgeMetrics, SweepObserver {
  configReloaded(success: boolean, at: Date): void
  /** Of the stores that replicas share. */
  storeAvailable(store: string, available: boolean): void
  readonly contentType: string
  scrape(): Promise<string>
  close(): void
}

const breakerStates = ['closed', 'half-open', 'open']

/** The series of one process, in a registry of its own. Labels are bounded by the configuration, never by clients. */
export function createMetrics({ version }: { readonly version: string }): Metrics {
  const register = new Registry()
  collectDefaultMetrics({ register })
  const { requests, servedBytes, duration, firstByte } = createEdgeMetrics(register)
  const observer = createObserver(register)
  const stopLag = measureEventLoopLag(register)

  gauge(register, 'headwater_build_info', 'Always 1; the labels say what runs.', ['version', 'node']).set(
    { version, node: process.versions.node },
    1,
  )
  const reloadSuccess = gauge(
    register,
    'headwater_config_last_reload_success',
    'Whether the last configuration was taken.',
  )
  const reloadTime = gauge(
    register,
    'headwater_config_last_reload_timestamp_seconds',
    'When a configuration was last tried.',
  )

  const available = gauge(
    register,
    'headwater_store_available',
    'Whether a shared store answers; without it the cache does less and pulls go on.',
    ['store'],
  )

  return {
    ...observer,
    ...createSweepMetrics(register),
    storeAvailable: (store, is) => available.set({ store }, is ? 1 : 0),
    requests,
    servedBytes,
    duration,
    firstByte,
    configReloaded(success, at) {
      reloadSuccess.set(success ? 1 : 0)
      reloadTime.set(at.getTime() / 1000)
    },
    contentType: register.contentType,
    scrape: () => register.metrics(),
    close: stopLag,
  }
}

function createEdgeMetrics(register: Registry): EdgeMetrics {
  const requests = cells(register, 'headwater_requests_total', 'Requests, by what became of them.', [
    'registry',
    'kind',
    'outcome',
  ])
  const served = cells(
    register,
    'headwater_served_bytes_total',
    'Body bytes sent to clients, by where they were had.',
    ['source'],
  )
  const durations = timings(
    register,
    'headwater_request_duration_seconds',
    'From the request to its last byte.',
    ['kind', 'outcome'],
  )
  const firstBytes = timings(
    register,
    'headwater_first_byte_seconds',
    'From the request to the first byte of a body.',
    ['kind'],
  )
  return {
    requests: (registry, kind, outcome) => requests([registry, kind, outcome]),
    servedBytes: (source) => served([source]),
    duration: (kind, outcome) => durations([kind, outcome]),
    firstByte: (kind) => firstBytes([kind]),
  }
}

function createObserver(register: Registry): Observer {
  const upstreamRequests = counter(
    register,
    'headwater_upstream_requests_total',
    'Requests to upstreams; the status is the error where none came.',
    ['upstream', 'method', 'status'],
  )
  const upstreamBytes = cells(
    register,
    'headwater_upstream_bytes_total',
    'Body bytes received from upstreams.',
    ['upstream'],
  )
  const upstreamDurations = timings(
    register,
    'headwater_upstream_request_duration_seconds',
    'From the request to the head of the answer.',
    ['upstream'],
  )
  const fills = counter(register, 'headwater_fills_total', 'Fills that ended.', ['source', 'result'])
  const filling = gauge(register, 'headwater_fills_in_progress', 'Fills running now.')
  const resumes = counter(register, 'headwater_fill_resumes_total', 'Cut transfers that went on by Range.', [
    'upstream',
  ])
  const steps = counter(
    register,
    'headwater_shared_fill_steps_total',
    'What was done about blobs that replicas bring together.',
    ['step'],
  )
  const mismatches = counter(
    register,
    'headwater_digest_mismatches_total',
    'Bodies that were not what their digest says.',
    ['upstream'],
  )
  const breakers = gauge(register, 'headwater_breaker_state', '1 for the state the breaker is in.', [
    'upstream',
    'state',
  ])
  const spool = gauge(register, 'headwater_spool_bytes', 'Bytes on disk in unfinished fills.')
  const stored = gauge(register, 'headwater_stored_bytes', 'Bytes of cached blobs on disk.')
  const evicted = counter(register, 'headwater_evicted_bytes_total', 'Bytes of blobs taken away for room.')
  const failures = counter(
    register,
    'headwater_store_failures_total',
    'Writes to the cache that failed after the answer.',
    ['operation'],
  )

  return {
    upstreamRequest({ upstream, method, status, durationMs }) {
      upstreamRequests.inc({ upstream, method, status: String(status) })
      upstreamDurations([upstream]).observe(durationMs / 1000)
    },
    upstreamBytes(upstream, bytes) {
      upstreamBytes([upstream]).value += bytes
    },
    fillStarted: () => filling.inc(),
    fillEnded(source, result) {
      filling.dec()
      fills.inc({ source, result })
    },
    fillResumed: (upstream) => resumes.inc({ upstream }),
    sharing: ({ step }) => steps.inc({ step }),
    digestMismatch: (upstream) => mismatches.inc({ upstream }),
    breaker(upstream, state) {
      for (const each of breakerStates) breakers.set({ upstream, state: each }, each === state ? 1 : 0)
    },
    spoolBytes: (bytes) => spool.set(bytes),
    storedBytes: (bytes) => stored.set(bytes),
    evicted: (bytes) => evicted.inc(bytes),
    storeFailure: (operation) => failures.inc({ operation }),
  }
}

function createSweepMetrics(register: Registry): SweepObserver {
  const runs = counter(register, 'headwater_sweep_runs_total', 'Sweeps, by how they ended.', ['result'])
  const removed = counter(
    register,
    'headwater_sweep_removed_total',
    'What sweeps took away: blobs that nothing links, uploads and spool files of fills that died.',
    ['kind'],
  )
  const bytes = counter(register, 'headwater_sweep_removed_bytes_total', 'Bytes of blobs and files among it.')
  const marked = counter(
    register,
    'headwater_sweep_marked_total',
    'Blobs that were found unlinked, to be deleted after a time of grace.',
  )
  const failures = counter(
    register,
    'headwater_sweep_failures_total',
    'Blobs and uploads that could not be deleted.',
  )
  const swept = gauge(
    register,
    'headwater_sweep_last_success_timestamp_seconds',
    'When a sweep last came to its end.',
  )
  return {
    swept(report) {
      const isDone = report.endedEarly.length === 0
      runs.inc({ result: isDone ? 'done' : 'failed' })
      removed.inc({ kind: 'blob' }, report.blobs)
      removed.inc({ kind: 'upload' }, report.uploads)
      removed.inc({ kind: 'file' }, report.files)
      bytes.inc(report.blobBytes + report.fileBytes)
      marked.inc(report.marked)
      failures.inc(report.failures.length)
      if (isDone) swept.setToCurrentTime()
    },
  }
}

function counter(register: Registry, name: string, help: string, labelNames: string[] = []): Counter<string> {
  return new Counter({ name, help, labelNames, registers: [register] })
}

function gauge(register: Registry, name: string, help: string, labelNames: string[] = []): Gauge<string> {
  return new Gauge({ name, help, labelNames, registers: [register] })
}

/** How much later than asked timers ran since the last scrape. */
function measureEventLoopLag(register: Registry): () => void {
  const resolution = 20
  const delay = monitorEventLoopDelay({ resolution })
  delay.enable()
  new Gauge({
    name: 'headwater_event_loop_lag_seconds',
    help: 'How late the event loop was since the last scrape.',
    labelNames: ['quantile'],
    registers: [register],
    collect() {
      const seconds = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - resolution / 1000) || 0
      this.set({ quantile: '0.5' }, seconds(delay.percentile(50)))
      this.set({ quantile: '0.99' }, seconds(delay.percentile(99)))
      this.set({ quantile: '1' }, seconds(delay.max))
      delay.reset()
    },
  })
  return () => {
    delay.disable()
  }
}
