import { readFile } from 'node:fs/promises'
import { needPart } from '../test/rig/parts.ts'
import { mustRun } from '../test/rig/process.ts'

export interface WrkResult {
  readonly requestsPerSecond: number
  readonly bytesPerSecond: number
  /** Cores the server's process used, and cores nobody used. */
  readonly serverCores: number
  readonly idleCores: number
}

interface Summary {
  readonly requests: number
  readonly bytes: number
  readonly microseconds: number
  readonly errors: Readonly<Record<string, number>>
}

export function wrkLine(flags: readonly string[], seconds: number, url: string): string[] {
  return [...flags, `-d${seconds}s`, '--timeout', '30s', '-s', 'bench/report.lua', url]
}

/** At all of these at once, in sum. */
export async function runWrkAt(
  flags: readonly string[],
  seconds: number,
  servers: readonly { readonly url: string; readonly pid: number }[],
  path: string,
): Promise<WrkResult> {
  const results = await Promise.all(servers.map(({ url, pid }) => runWrk(flags, seconds, url + path, pid)))
  const sum = (what: keyof WrkResult) => results.reduce((total, result) => total + result[what], 0)
  return {
    requestsPerSecond: sum('requestsPerSecond'),
    bytesPerSecond: sum('bytesPerSecond'),
    serverCores: sum('serverCores'),
    idleCores: sum('idleCores') / results.length,
  }
}

/** One run. Any error that wrk counted is an error here. */
export async function runWrk(
  flags: readonly string[],
  seconds: number,
  url: string,
  pid: number,
): Promise<WrkResult> {
  const before = await usage(pid)
  const output = await mustRun(needPart('wrk'), wrkLine(flags, seconds, url))
  const after = await usage(pid)
  const summary = JSON.parse(output.trimEnd().split('\n').at(-1) ?? '') as Summary
  const errors = Object.entries(summary.errors).filter(([, count]) => count > 0)
  if (errors.length > 0) throw new Error(`wrk had errors at ${url}: ${JSON.stringify(summary.errors)}`)
  const duration = summary.microseconds / 1e6
  const wall = after.at - before.at
  return {
    requestsPerSecond: summary.requests / duration,
    bytesPerSecond: summary.bytes / duration,
    serverCores: (after.process - before.process) / wall,
    idleCores: (after.idle - before.idle) / wall,
  }
}

const ticksPerSecond = 100

/** In seconds. */
async function usage(pid: number): Promise<{ at: number; process: number; idle: number }> {
  const [own, all] = await Promise.all([
    readFile(`/proc/${pid}/stat`, 'utf8'),
    readFile('/proc/stat', 'utf8'),
  ])
  const [user = 0, system = 0] = own
    .slice(own.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number)
  const [, , , idle = 0, waiting = 0] = all.slice(3, all.indexOf('\n')).trim().split(/\s+/).map(Number)
  return {
    at: performance.now() / 1000,
    process: (user + system) / ticksPerSecond,
    idle: (idle + waiting) / ticksPerSecond,
  }
}
