import { join } from 'node:path'
import { casesOf } from './cases.ts'
import { describeMachine } from './machine.ts'
import { measure, pullAll } from './measure.ts'
import { formatRun, type Measured } from './report.ts'
import { pushSample } from './sample.ts'
import { dataOf, type Server, startDistribution, startHeadwater, startNginx } from './servers.ts'

/** Headwater, distribution and nginx on one machine's files: the text of what was measured. */
export async function measureSingle({
  folder,
  rounds,
  seconds,
  only,
  nodeFlags,
  started,
}: {
  folder: string
  rounds: number
  seconds: number
  /** Cases with this in their name. */
  only: string
  nodeFlags: readonly string[]
  started: (server: Server) => Server
}): Promise<string> {
  const upstream = started(await startDistribution(join(folder, 'upstream')))
  const sample = await pushSample(upstream)
  const all = casesOf(sample)
  const headwater = started(await startHeadwater(join(folder, 'headwater'), upstream.url, { nodeFlags }))
  const distribution = started(
    await startDistribution(join(folder, 'distribution'), { proxyOf: upstream.url }),
  )
  // what nginx serves is there once Headwater has pulled it
  const subjects = all.flatMap((kase) => kase.subjects)
  await pullAll(subjects, { headwater: [headwater], distribution: [distribution] })
  const nginx = started(await startNginx(join(folder, 'nginx'), dataOf(join(folder, 'headwater')), sample))
  const servers = { headwater: [headwater], distribution: [distribution], nginx: [nginx] }

  const measured: Measured[] = []
  for (const kase of all.filter(({ name }) => name.includes(only)))
    measured.push({ kase, results: await measure(kase, servers, { rounds, seconds, warmUpSeconds: 2 }) })
  return formatRun({
    machine: await describeMachine(['registry', 'nginx', 'wrk']),
    rounds,
    seconds,
    measured,
  })
}
