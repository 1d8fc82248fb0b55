import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from '@prometheus-io/client'
import type { ControllerObserver } from './controller.ts'
import type { WorkQueue } from './work-queue.ts'

/** The series of controller-runtime and client-go under their own names, so that the dashboards there are work. */
export interface RuntimeMetrics {
  /** One controller and its queue; `watch` is told the queue once there is one. */
  controller(
    name: string,
    workers: number,
  ): ControllerObserver & { watch(queue: Pick<WorkQueue, 'depth' | 'unfinished'>): void }
  apiRequest(event: { readonly method: string; readonly host: string; readonly status: string }): void
  leading(isLeader: boolean): void
  readonly contentType: string
  scrape(): Promise<string>
}

const seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

export function createRuntimeMetrics({
  version,
  leaseName,
}: {
  readonly version: string
  readonly leaseName: string
}): RuntimeMetrics {
  const register = new Registry()
  collectDefaultMetrics({ register })
  const registers = [register]
  const counter = (name: string, help: string, labelNames: string[]) =>
    new Counter({ name, help, labelNames, registers })
  const gauge = (name: string, help: string, labelNames: string[]) =>
    new Gauge({ name, help, labelNames, registers })
  const histogram = (name: string, help: string, labelNames: string[]) =>
    new Histogram({ name, help, labelNames, buckets: seconds, registers })

  const reconciles = counter('controller_runtime_reconcile_total', 'Reconciliations.', [
    'controller',
    'result',
  ])
  const errors = counter('controller_runtime_reconcile_errors_total', 'Reconciliations that failed.', [
    'controller',
  ])
  const times = histogram('controller_runtime_reconcile_time_seconds', 'Time of a reconciliation.', [
    'controller',
  ])
  const most = gauge('controller_runtime_max_concurrent_reconciles', 'Workers.', ['controller'])
  const active = gauge('controller_runtime_active_workers', 'Workers that work.', ['controller'])
  const queueLabels = ['name', 'controller']
  const depth = gauge('workqueue_depth', 'Keys that wait.', queueLabels)
  const adds = counter('workqueue_adds_total', 'Keys added.', queueLabels)
  const waits = histogram('workqueue_queue_duration_seconds', 'How long keys waited.', queueLabels)
  const works = histogram('workqueue_work_duration_seconds', 'How long keys were worked on.', queueLabels)
  const retries = counter('workqueue_retries_total', 'Keys that were put back after a failure.', queueLabels)
  const unfinished = gauge('workqueue_unfinished_work_seconds', 'Work under way, in all.', queueLabels)
  const longest = gauge(
    'workqueue_longest_running_processor_seconds',
    'The longest work under way.',
    queueLabels,
  )
  const requests = counter('rest_client_requests_total', 'Requests to the API server.', [
    'code',
    'method',
    'host',
  ])
  const leader = gauge('leader_election_master_status', 'Whether this process leads.', ['name'])
  gauge('headwater_build_info', 'Always 1; the labels say what runs.', ['version', 'node']).set(
    { version, node: process.versions.node },
    1,
  )
  leader.set({ name: leaseName }, 0)
  const queues = new Map<string, Pick<WorkQueue, 'depth' | 'unfinished'>>()

  return {
    controller(name, workers) {
      const labels = { name, controller: name }
      most.set({ controller: name }, workers)
      active.set({ controller: name }, 0)
      for (const result of ['success', 'error', 'requeue', 'requeue_after']) {
        reconciles.inc({ controller: name, result }, 0)
      }
      errors.inc({ controller: name }, 0)
      return {
        watch: (queue) => queues.set(name, queue),
        added: () => adds.inc(labels),
        taken: (waitedMs) => waits.observe(labels, waitedMs / 1000),
        done: (workedMs) => works.observe(labels, workedMs / 1000),
        retried: () => retries.inc(labels),
        activeWorkers: (count) => active.set({ controller: name }, count),
        reconciled(result, durationMs) {
          reconciles.inc({ controller: name, result })
          if (result === 'error') errors.inc({ controller: name })
          times.observe({ controller: name }, durationMs / 1000)
        },
      }
    },
    apiRequest: ({ method, host, status }) => requests.inc({ code: status, method, host }),
    leading: (isLeader) => leader.set({ name: leaseName }, isLeader ? 1 : 0),
    contentType: register.contentType,
    scrape() {
      for (const [name, queue] of queues) {
        const labels = { name, controller: name }
        const { totalMs, longestMs } = queue.unfinished()
        depth.set(labels, queue.depth)
        unfinished.set(labels, totalMs / 1000)
        longest.set(labels, longestMs / 1000)
      }
      return register.metrics()
    },
  }
}
