import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { askedDuring } from '../test/rig/asked.ts'
import { startRedis } from '../test/rig/redis.ts'
import { startS3 } from '../test/rig/s3-server.ts'
import { checkAnswer } from './check.ts'
import { describeMachine } from './machine.ts'
import { type Measurable, measure, warm } from './measure.ts'
import { measurePaired } from './paired.ts'
import { type ReplicaCase, replicaCasesOf } from './replica-cases.ts'
import { formatRun, type Measured } from './report.ts'
import { pushSample } from './sample.ts'
import { startDistribution } from './servers.ts'
import { type Shared, startReplicas, startSharedDistributions } from './shared-servers.ts'

/** Pulls of each subject, one after another, in which the requests to Redis and S3 are counted. */
const countedPulls = 10
/** Pairs of new processes. */
const starts = 5

/** Replicas over Redis and S3, beside one over files and distribution over the same: the text of what was measured. */
export async function measureReplicas({
  folder,
  rounds,
  seconds,
  started,
}: {
  folder: string
  rounds: number
  seconds: number
  started: Shared['started']
}): Promise<string> {
  await mkdir(folder, { recursive: true })
  const redis = await startRedis()
  started({ stop: () => redis.close() })
  const s3 = await startS3()
  started({ stop: () => s3.close() })
  const upstream = started(await startDistribution(join(folder, 'upstream')))
  const sample = await pushSample(upstream)
  const { paired, beside: cases } = replicaCasesOf(sample)
  const bucket = await s3.makeBucket()
  const clusterKeyFile = join(folder, 'cluster-key')
  await writeFile(clusterKeyFile, `${randomBytes(32).toString('hex')}\n`)
  const setting: Shared = { folder, redis, s3, bucket, clusterKeyFile, upstreamUrl: upstream.url, started }

  const pairs = await measurePaired(paired, setting, { starts, rounds, seconds })
  // the last one with next to no disk, so that it reads S3
  const all = await startReplicas(setting, [[], [], [], ['--spool-max-bytes', '16Mi']])
  const replicas = all.slice(0, 3)
  const { proxied, redirecting } = await startSharedDistributions(setting)
  const servers: Measurable = {
    ...{ one: replicas.slice(0, 1), three: replicas, diskless: all.slice(3) },
    ...{ distribution: [proxied], redirecting: [redirecting] },
  }
  await warm(cases, servers)

  const counts: string[] = []
  for (const kase of cases) counts.push(...(await countAsked(kase, servers, setting)))
  const measured: Measured[] = []
  for (const kase of cases)
    measured.push({ kase, results: await measure(kase, servers, { rounds, seconds, warmUpSeconds: 1 }) })
  const machine = await describeMachine(['registry', 'redis-server', 'versitygw', 'wrk'])
  return [formatRun({ machine, rounds, seconds, measured }), '', ...pairs, '', ...formatCounts(counts)].join(
    '\n',
  )
}

/** A row for each subject. */
async function countAsked(kase: ReplicaCase, servers: Measurable, setting: Shared): Promise<string[]> {
  const rows: string[] = []
  for (const subject of kase.subjects) {
    const all = servers[subject.server]!
    const asked = await askedDuring(setting, async () => {
      for (let pull = 0; pull < countedPulls; pull++) await checkAnswer(all[pull % all.length]!.url, subject)
    })
    const perPull = ({ length }: readonly string[]) => String(Math.round((length / countedPulls) * 10) / 10)
    rows.push(`| ${kase.name} | ${subject.name} | ${perPull(asked.redis)} | ${perPull(asked.s3)} |`)
  }
  return rows
}

function formatCounts(rows: readonly string[]): string[] {
  return [
    '### Requests for each pull',
    '',
    `Counted by Redis and by S3 over ${countedPulls} pulls, one after another; with redirects the client's own to S3 is among them, and a look of the replica, once a second, whether the blob is still there.`,
    '',
    '| | | to Redis | to S3 |',
    '|---|---|---|---|',
    ...rows,
  ]
}
