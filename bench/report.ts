import { readFile, writeFile } from 'node:fs/promises'
import type { Case, Goal } from './cases.ts'
import { type Spread, spreadOf } from './statistics.ts'
import type { WrkResult } from './wrk.ts'
import { wrkLine } from './wrk.ts'

/** Where the figures of a part are on the page. */
export type Part = 'single' | 'replicas'

/** By subject, one result a round. */
export type Results = ReadonlyMap<string, readonly WrkResult[]>

export interface Measured {
  readonly kase: Case
  readonly results: Results
}

export interface Run {
  readonly machine: readonly string[]
  readonly rounds: number
  readonly seconds: number
  readonly measured: readonly Measured[]
}

export function formatRun({ machine, rounds, seconds, measured }: Run): string {
  return [
    `Measured on: ${machine.join('; ')}.`,
    '',
    `${rounds} rounds of ${seconds} seconds for each line; within a round the lines of a table take turns.`,
    ...measured.flatMap((one) => ['', ...formatCase(one, seconds)]),
  ].join('\n')
}

function formatCase({ kase, results }: Measured, seconds: number): string[] {
  const rows = kase.subjects.map(({ name }) => {
    const runs = results.get(name) ?? []
    const speed = spreadOf(runs.map((run) => speedOf(kase, run)))
    const cores = spreadOf(runs.map(({ serverCores }) => serverCores)).median
    return `| ${name} | ${formatSpeed(kase, speed)} | ${cores.toFixed(2)} |`
  })
  return [
    `### ${capitalise(kase.name)}`,
    '',
    `\`wrk ${wrkLine(kase.wrk, seconds, 'URL').map(quoted).join(' ')}\``,
    '',
    `| | ${kase.unit === 'requests' ? 'requests/s' : 'GB/s'}: median (least to most) | cores of the server |`,
    '|---|---|---|',
    ...rows,
    '',
    '| ratio, round by round | median | least to most | goal |',
    '|---|---|---|---|',
    ...kase.goals.map(
      (goal) => `| ${goal.of} / ${goal.to} ${formatRatio(goal, ratiosOf(kase, results, goal))}`,
    ),
  ]
}

/** Round by round. */
export function ratiosOf(kase: Case, results: Results, { of, to }: Goal): readonly number[] {
  const others = results.get(to) ?? []
  return (results.get(of) ?? []).map((run, round) => speedOf(kase, run) / speedOf(kase, others[round]!))
}

/** The last three cells of a row. */
export function formatRatio({ least: goal }: Goal, ratios: readonly number[]): string {
  const { median, least, most } = spreadOf(ratios)
  const verdict = goal === undefined ? '' : `${goal}: ${median >= goal ? 'reached' : 'missed'}`
  return `| ${median.toFixed(2)} | ${least.toFixed(2)} to ${most.toFixed(2)} | ${verdict} |`
}

export function speedOf({ unit }: Case, run: WrkResult): number {
  return unit === 'requests' ? run.requestsPerSecond : run.bytesPerSecond
}

export function formatSpeed({ unit }: Case, { median, least, most }: Spread): string {
  const text = (value: number) =>
    unit === 'requests' ? Math.round(value).toLocaleString('en') : (value / 1e9).toFixed(2)
  return `${text(median)} (${text(least)} to ${text(most)})`
}

function quoted(word: string): string {
  return word.includes(' ') ? `'${word}'` : word
}

function capitalise(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

const markers: Readonly<Record<Part, readonly [string, string]>> = {
  single: ['<!-- measured by npm run bench -->', '<!-- end of what was measured -->'],
  replicas: [
    '<!-- replicas, measured by npm run bench -->',
    '<!-- end of what was measured with replicas -->',
  ],
}

/** Puts the figures between the markers of a page; what is written around them stays. */
export async function writeInto(page: string, part: Part, text: string): Promise<void> {
  const old = await readFile(page, 'utf8')
  const [start, end] = markers[part].map((marker) => old.indexOf(marker)) as [number, number]
  if (start < 0 || end < start) throw new Error(`${page} has no place for figures`)
  await writeFile(page, `${old.slice(0, start)}${markers[part][0]}\n\n${text}\n\n${old.slice(end)}`)
}
