import { loadavg } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { ensureParts } from '../test/rig/parts.ts'
import { type Case, casesOf } from './cases.ts'
import { checkAnswer } from './check.ts'
import { describeMachine } from './machine.ts'
import { formatRun, type Measured, writeInto } from './report.ts'
import { pushSample } from './sample.ts'
import {
  dataOf,
  removeFolder,
  type Servers,
  startDistribution,
  startHeadwater,
  startNginx,
  temporaryFolder,
} from './servers.ts'
import { runWrk, type WrkResult } from './wrk.ts'

/**
 * `npm run bench`: Headwater, distribution and nginx, warm, in turns. `--write` puts the figures into
 * docs/benchmarks.md; `--only manifest` measures the cases whose name begins so; `--cpu-prof` has Headwater write a
 * profile into the working directory.
 */
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '4' },
    only: { type: 'string', default: '' },
    write: { type: 'boolean', default: false },
    'cpu-prof': { type: 'boolean', default: false },
  },
})
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)
const warmUpSeconds = 2
const busyLoad = 0.5

const missing = await ensureParts((line) => console.log(line))
for (const { name, reason } of missing) console.log(`missing: ${name}: ${reason}`)
const folder = await temporaryFolder()
const stopping: (() => Promise<void>)[] = []
try {
  const upstream = await startDistribution(join(folder, 'upstream'))
  stopping.push(upstream.stop)
  const sample = await pushSample(upstream)
  const cases = casesOf(sample).filter(({ name }) => name.includes(values.only))
  const profile = values['cpu-prof'] ? ['--cpu-prof'] : []
  const headwater = await startHeadwater(join(folder, 'headwater'), upstream.url, profile)
  stopping.push(headwater.stop)
  const distribution = await startDistribution(join(folder, 'distribution'), upstream.url)
  stopping.push(distribution.stop)
  // what nginx serves is there once Headwater has pulled it
  await pullAll(casesOf(sample), { headwater, distribution })
  const nginx = await startNginx(join(folder, 'nginx'), dataOf(join(folder, 'headwater')), sample)
  stopping.push(nginx.stop)
  const servers = { headwater, distribution, nginx }

  const [load = 0] = loadavg()
  if (load > busyLoad) console.log(`the machine is busy: its load is ${load.toFixed(2)}`)
  const measured: Measured[] = []
  for (const kase of cases) measured.push({ kase, results: await measure(kase, servers) })

  const text = formatRun({ machine: await describeMachine(), rounds, seconds, measured })
  console.log(`\n${text}`)
  if (values.write) await writeInto('docs/benchmarks.md', text)
} finally {
  for (const stop of stopping.reverse()) await stop()
  await removeFolder(folder)
}

async function pullAll(cases: readonly Case[], servers: Partial<Servers>): Promise<void> {
  for (const { server, ...subject } of cases.flatMap(({ subjects }) => subjects)) {
    const url = servers[server]?.url
    if (url !== undefined) await checkAnswer(url, { server, ...subject })
  }
  await sleep(1000) // both commit behind the answer
}

async function measure(kase: Case, servers: Servers): Promise<ReadonlyMap<string, readonly WrkResult[]>> {
  const results = new Map<string, WrkResult[]>(kase.subjects.map(({ name }) => [name, []]))
  const digests = await Promise.all(
    kase.subjects.map((subject) => checkAnswer(servers[subject.server].url, subject)),
  )
  if (new Set(digests).size !== 1) throw new Error(`${kase.name}: the servers do not send the same bytes`)
  for (const { server, path } of kase.subjects) {
    await runWrk(kase.wrk, warmUpSeconds, servers[server].url + path, servers[server].pid)
  }
  for (let round = 1; round <= rounds; round++) {
    const said: string[] = []
    for (const { name, server, path } of kase.subjects) {
      const { url, pid } = servers[server]
      const result = await runWrk(kase.wrk, seconds, url + path, pid)
      results.get(name)?.push(result)
      const { requestsPerSecond, bytesPerSecond, serverCores, idleCores } = result
      const speed =
        kase.unit === 'requests'
          ? Math.round(requestsPerSecond).toString()
          : `${(bytesPerSecond / 1e9).toFixed(2)} GB/s`
      said.push(`${name} ${speed} [${serverCores.toFixed(2)} cores, ${idleCores.toFixed(2)} idle]`)
    }
    console.log(`${kase.name}, round ${round}: ${said.join(', ')}`)
  }
  return results
}
