import { setTimeout as sleep } from 'node:timers/promises'
import type { Case, Subject } from './cases.ts'
import { checkAnswer } from './check.ts'
import type { Results } from './report.ts'
import type { Server } from './servers.ts'
import { runWrkAt, type WrkResult } from './wrk.ts'

/** By the name a subject has for them; where there are several, all are asked at once. */
export type Measurable = Readonly<Record<string, readonly Server[]>>

export interface Extent {
  readonly rounds: number
  readonly seconds: number
  readonly warmUpSeconds: number
}

/** Each answer once from each server, so that it is warm. */
export async function pullAll(subjects: readonly Subject[], servers: Measurable): Promise<void> {
  for (const subject of subjects) {
    for (const { url } of servers[subject.server] ?? []) await checkAnswer(url, subject)
  }
  await sleep(1000) // what is pulled is committed behind the answer
}

/** The same twice: the second time finds what a slow disk was still taking in when the first ended. */
export async function warm(cases: readonly Case[], servers: Measurable): Promise<void> {
  const subjects = cases.flatMap((kase) => kase.subjects)
  for (let times = 0; times < 2; times++) {
    await pullAll(subjects, servers)
    await sleep(2000)
  }
}

/** The subjects of a case in turns, every other round the last one first. */
export async function measure(
  kase: Case,
  servers: Measurable,
  { rounds, seconds, warmUpSeconds }: Extent,
): Promise<Results> {
  const results = new Map<string, WrkResult[]>(kase.subjects.map(({ name }) => [name, []]))
  const digests: string[] = []
  for (const subject of kase.subjects) {
    for (const { url } of servers[subject.server]!) digests.push(await checkAnswer(url, subject))
  }
  if (new Set(digests).size !== 1) throw new Error(`${kase.name}: the servers do not send the same bytes`)
  for (const { server, path } of kase.subjects)
    await runWrkAt(kase.wrk, warmUpSeconds, servers[server]!, path)
  for (let round = 1; round <= rounds; round++) {
    const said: string[] = []
    for (const { name, server, path } of round % 2 === 1 ? kase.subjects : kase.subjects.toReversed()) {
      const result = await runWrkAt(kase.wrk, seconds, servers[server]!, path)
      results.get(name)?.push(result)
      said.push(`${name} ${describe(kase, result)}`)
    }
    console.log(`${kase.name}, round ${round}: ${said.join(', ')}`)
  }
  return results
}

function describe({ unit }: Case, result: WrkResult): string {
  const { requestsPerSecond, bytesPerSecond, serverCores, idleCores } = result
  const speed =
    unit === 'requests'
      ? Math.round(requestsPerSecond).toString()
      : `${(bytesPerSecond / 1e9).toFixed(2)} GB/s`
  return `${speed} [${serverCores.toFixed(2)} cores, ${idleCores.toFixed(2)} idle]`
}
