import { afterEach, beforeEach, expect, it } from 'vitest'
import { createMetrics, type Metrics } from '../../proxy/metrics.ts'
import { putManifest, startEdge } from './http/fixtures.ts'
import { request } from './http/wire.ts'

let metrics: Metrics
beforeEach(() => {
  metrics = createMetrics({ version: '1.2.3' })
})
afterEach(() => {
  metrics.close()
})

it('keeps a cell for each set of labels, and shows it when scraped', async () => {
  const cell = metrics.requests('team/hub', 'manifest', 'hit')
  expect(metrics.requests('team/hub', 'manifest', 'hit')).toBe(cell)
  cell.value += 2
  metrics.requests('team/hub', 'manifest', 'miss').value += 1
  const text = await metrics.scrape()
  expect(text).toContain('headwater_requests_total{registry="team/hub",kind="manifest",outcome="hit"} 2\n')
  expect(text).toContain('headwater_requests_total{registry="team/hub",kind="manifest",outcome="miss"} 1\n')
  cell.value += 1
  expect(await metrics.scrape()).toContain(
    'headwater_requests_total{registry="team/hub",kind="manifest",outcome="hit"} 3\n',
  )
})

it('counts a time in its bucket and all above', async () => {
  const timing = metrics.duration('blob', 'hit')
  for (const seconds of [0.0001, 0.001, 0.2, 1000]) timing.observe(seconds)
  const text = await metrics.scrape()
  const count = (le: string) =>
    Number(
      new RegExp(
        `^headwater_request_duration_seconds_bucket\\{kind="blob",outcome="hit",le="${le}"\\} (\\d+)$`,
        'm',
      ).exec(text)?.[1],
    )
  expect(['0.0005', '0.001', '0.1', '0.25', '300', '\\+Inf'].map(count)).toEqual([1, 2, 2, 3, 3, 4])
  expect(text).toContain('headwater_request_duration_seconds_count{kind="blob",outcome="hit"} 4')
  expect(text).toMatch(/^headwater_request_duration_seconds_sum\{kind="blob",outcome="hit"\} 1000\.2011$/m)
})

it('turns what the parts tell into series', async () => {
  metrics.upstreamRequest({ upstream: 'team/hub', method: 'GET', status: 200, durationMs: 12 })
  metrics.upstreamRequest({ upstream: 'team/hub', method: 'HEAD', status: 'timeout', durationMs: 12 })
  metrics.upstreamBytes('team/hub', 100)
  metrics.upstreamBytes('team/hub', 50)
  metrics.fillStarted('upstream')
  metrics.fillStarted('direct')
  metrics.fillEnded('direct', 'committed')
  metrics.fillResumed('team/hub')
  metrics.digestMismatch('team/hub')
  metrics.breaker('team/hub', 'open')
  metrics.spoolBytes(7)
  metrics.storedBytes(8)
  metrics.evicted(9)
  metrics.storeFailure('index.putTag', new Error('full'))
  metrics.configReloaded(false, new Date(5000))
  const text = await metrics.scrape()
  for (const line of [
    'headwater_upstream_requests_total{upstream="team/hub",method="GET",status="200"} 1',
    'headwater_upstream_requests_total{upstream="team/hub",method="HEAD",status="timeout"} 1',
    'headwater_upstream_bytes_total{upstream="team/hub"} 150',
    'headwater_fills_in_progress 1',
    'headwater_fills_total{source="direct",result="committed"} 1',
    'headwater_fill_resumes_total{upstream="team/hub"} 1',
    'headwater_digest_mismatches_total{upstream="team/hub"} 1',
    'headwater_breaker_state{upstream="team/hub",state="open"} 1',
    'headwater_breaker_state{upstream="team/hub",state="closed"} 0',
    'headwater_spool_bytes 7',
    'headwater_stored_bytes 8',
    'headwater_evicted_bytes_total 9',
    'headwater_store_failures_total{operation="index.putTag"} 1',
    'headwater_config_last_reload_success 0',
    'headwater_config_last_reload_timestamp_seconds 5',
    `headwater_build_info{version="1.2.3",node="${process.versions.node}"} 1`,
  ]) {
    expect(text).toContain(`${line}\n`)
  }
  expect(text).toMatch(/^headwater_event_loop_lag_seconds\{quantile="0\.99"\} [\d.e-]+$/m)
  expect(text).toMatch(/^process_resident_memory_bytes \d+$/m)
})

it('stands beside another in one process', async () => {
  const other = createMetrics({ version: 'x' })
  other.requests('a', 'b', 'c').value += 1
  expect(await metrics.scrape()).not.toContain('headwater_requests_total{')
  other.close()
})

it('tells what sweeps took away, and when one last came to its end', async () => {
  const report = { files: 1, fileBytes: 10, uploads: 2, marked: 3, blobs: 4, blobBytes: 500 }
  const failures = [{ digest: `sha256:${'a'.repeat(64)}`, reason: 'AccessDenied' }] as const
  metrics.swept({ ...report, failures, endedEarly: [{ part: 'uploads', error: new Error('S3 is away') }] })
  expect(await metrics.scrape()).toMatch(/^headwater_sweep_last_success_timestamp_seconds 0$/m)
  const nothing = { files: 0, fileBytes: 0, uploads: 0, marked: 0, blobs: 0, blobBytes: 0 }
  metrics.swept({ ...nothing, failures: [], endedEarly: [] })
  const lines = (await metrics.scrape()).split('\n').filter((line) => line.startsWith('headwater_sweep_'))
  expect(lines).toEqual(
    expect.arrayContaining([
      'headwater_sweep_runs_total{result="done"} 1',
      'headwater_sweep_runs_total{result="failed"} 1',
      'headwater_sweep_removed_total{kind="blob"} 4',
      'headwater_sweep_removed_total{kind="upload"} 2',
      'headwater_sweep_removed_total{kind="file"} 1',
      'headwater_sweep_removed_bytes_total 510',
      'headwater_sweep_marked_total 3',
      'headwater_sweep_failures_total 1',
      expect.stringMatching(/^headwater_sweep_last_success_timestamp_seconds \d/),
    ]),
  )
})

it('T29: has no more series after a thousand names that nobody has', async () => {
  const edge = await startEdge()
  putManifest(edge.pull, 'alpine', 'latest')
  await request(edge.port, '/v2/vr1/alpine/manifests/latest')
  await request(edge.port, '/v2/vr1/missing/manifests/latest')
  await request(edge.port, '/v2/nothing/x/manifests/latest')
  await request(edge.port, '/nonsense')
  const count = async () =>
    (await edge.metrics.scrape()).split('\n').filter((line) => line.startsWith('headwater_')).length
  const before = await count()
  for (let index = 0; index < 300; index++) {
    await Promise.all([
      request(edge.port, `/v2/vr1/name-${index}/manifests/v${index}`),
      request(edge.port, `/v2/nothing-${index}/x/manifests/latest`),
      request(edge.port, `/nonsense-${index}`),
    ])
  }
  expect(await count()).toBe(before)
  await edge.close()
})
