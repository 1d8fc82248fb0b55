import { expect, it } from 'vitest'
import { createRuntimeMetrics } from '../../../operator/runtime/runtime-metrics.ts'

it('metrics of the operator have the names that dashboards of controller-runtime ask for', async () => {
  const metrics = createRuntimeMetrics({ version: '1', leaseName: 'headwater-operator' })
  const observe = metrics.controller('upstream', 4)
  observe.watch({ depth: 3, unfinished: () => ({ totalMs: 0, longestMs: 0 }) })
  metrics.leading(true)
  metrics.apiRequest({ method: 'GET', host: 'a', status: '200' })
  const names = new Set((await metrics.scrape()).match(/^# TYPE (\S+)/gm)?.map((line) => line.split(' ')[2]))
  for (const name of [
    ...['controller_runtime_reconcile_total', 'controller_runtime_reconcile_errors_total'],
    ...['controller_runtime_reconcile_time_seconds', 'controller_runtime_active_workers'],
    ...['controller_runtime_max_concurrent_reconciles', 'workqueue_depth', 'workqueue_adds_total'],
    ...['workqueue_queue_duration_seconds', 'workqueue_work_duration_seconds', 'workqueue_retries_total'],
    ...['workqueue_unfinished_work_seconds', 'workqueue_longest_running_processor_seconds'],
    ...['leader_election_master_status', 'rest_client_requests_total'],
  ]) {
    expect(names).toContain(name)
  }
  const text = await metrics.scrape()
  expect(text).toMatch(/^workqueue_depth\{[^}]*name="upstream"[^}]*\} 3$/m)
  expect(text).toMatch(/^controller_runtime_reconcile_errors_total\{controller="upstream"\} 0$/m)
  expect(text).toMatch(/^leader_election_master_status\{name="headwater-operator"\} 1$/m)
})
