import { appendFileSync, mkdirSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expectCanaries, expectNoSecrets } from './canary.ts'
import { type RunningProcess, startProcess } from './process.ts'
import { type Resource, toYaml } from './resources.ts'

export interface HeadwaterOptions {
  readonly resources: readonly Resource[]
  /** A folder of an earlier run; a new, temporary one where unset. */
  readonly data?: string
  readonly args?: readonly string[]
  readonly env?: Record<string, string | undefined>
  /** Put before the command, such as `['strace', '-f']`. */
  readonly under?: readonly string[]
  readonly listen?: string
}

/** `headwater serve` as a process of its own, on ports of its own. */
export interface Headwater {
  readonly url: string
  readonly adminUrl: string
  /** As in an image's name. */
  readonly host: string
  readonly pid: number
  readonly data: string
  readonly configFile: string
  /** A path of the registry's listener. */
  get(path: string, init?: RequestInit): Promise<Response>
  /** Every series of `/metrics`, as it is written: `headwater_fills_in_progress` or `name{a="b"}`. */
  metrics(): Promise<ReadonlyMap<string, number>>
  /** The sum of a metric's series whose labels contain all of these. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>
  ready(): Promise<boolean>
  /** Writes another configuration; it is for the test to see when it is served. */
  configure(resources: readonly Resource[]): Promise<void>
  log(): string
  /** The log's lines that are JSON. */
  logged(): Readonly<Record<string, unknown>>[]
  signal(signal: NodeJS.Signals): void
  readonly exited: Promise<number | NodeJS.Signals>
  /** SIGTERM and its exit code. Throws when a canary secret is in what it said. */
  stop(): Promise<number | NodeJS.Signals>
  /** Stops it and deletes its folder, but for data that was given. */
  close(): Promise<void>
  kill9(): Promise<void>
  openDescriptors(): Promise<number>
  /** Highest resident memory so far, in bytes. */
  peakMemory(): Promise<number>
  /** Files of unfinished writes. None are left when nothing is being pulled. */
  temporaryFiles(): Promise<string[]>
}

export function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'headwater-test-'))
}

export async function startHeadwater(options: HeadwaterOptions): Promise<Headwater> {
  const folder = await temporaryFolder()
  const data = options.data ?? join(folder, 'data')
  const configFile = join(folder, 'config.yaml')
  const configure = (resources: readonly Resource[]) => {
    expectCanaries(resources)
    return writeFile(configFile, toYaml(resources))
  }
  await configure(options.resources)

  const [command = process.execPath, ...before] = [...(options.under ?? []), process.execPath]
  const running = await startProcess({
    command,
    args: [
      ...[...before, 'cli/main.ts', 'serve', '--config', configFile, '--data', data, '--log-format', 'json'],
      ...['--listen', options.listen ?? '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'],
      ...(options.args ?? []),
    ],
    ...(options.env && { env: options.env }),
    ready: readyLine,
  })
  const { listen = '', admin = '' } = running.ready.groups ?? {}
  const adminUrl = `http://${admin}`

  const metrics = async (): Promise<ReadonlyMap<string, number>> => parseMetrics(await scrape(adminUrl))
  const stop = async (): Promise<number | NodeJS.Signals> => {
    const scraped = await scrape(adminUrl).catch(() => '')
    const code = await running.stop(60_000)
    keepOutput(running.log() + scraped)
    return code
  }
  return {
    url: `http://${listen}`,
    adminUrl,
    host: listen,
    pid: await pidOf(running, options.under !== undefined),
    data,
    configFile,
    get: async (path, init) => withoutSecrets(await fetch(`http://${listen}${path}`, init)),
    metrics,
    async metric(name, labels = {}) {
      const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`)
      const series = [...(await metrics())].filter(
        ([key]) => key.replace(/\{.*/s, '') === name && wanted.every((label) => key.includes(label)),
      )
      return series.reduce((sum, [, value]) => sum + value, 0)
    },
    ready: async () => (await fetch(`${adminUrl}/readyz`)).status === 200,
    configure,
    log: () => running.log(),
    logged: () => jsonLines(running.log()),
    signal: (signal) => running.signal(signal),
    exited: running.exited,
    stop,
    async close() {
      await stop().finally(() => removeFolder(folder))
    },
    async kill9() {
      await running.kill9()
      keepOutput(running.log())
    },
    openDescriptors: async () => (await readdir(`/proc/${running.pid}/fd`)).length,
    peakMemory: () => peakMemory(running.pid),
    temporaryFiles: () => temporaryFiles(data),
  }
}

/** What `serve` prints once it listens: where clients pull from and where it is administered. */
const readyLine =
  /listening on (?:https?:\/\/)?(?<listen>[^\s",]+:\d+)[\s\S]*?admin(?: is)? on (?:https?:\/\/)?(?<admin>[^\s",]+:\d+)/

async function pidOf(running: RunningProcess, wrapped: boolean): Promise<number> {
  if (!wrapped) return running.pid
  const children = await readFile(`/proc/${running.pid}/task/${running.pid}/children`, 'utf8')
  return Number(children.trim().split(' ')[0] || running.pid)
}

async function scrape(adminUrl: string): Promise<string> {
  return (await fetch(`${adminUrl}/metrics`)).text()
}

function parseMetrics(text: string): ReadonlyMap<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const { series = '', value } = /^(?<series>\S+?(?:\{.*\})?) (?<value>\S+)/.exec(line)?.groups ?? {}
      return [series, Number(value)] as const
    }),
  )
}

function jsonLines(text: string): Readonly<Record<string, unknown>>[] {
  return text.split('\n').flatMap((line) => {
    try {
      return line.startsWith('{') ? [JSON.parse(line) as Record<string, unknown>] : []
    } catch {
      return []
    }
  })
}

/** I4: no head of an answer has a secret, and no error. */
async function withoutSecrets(response: Response): Promise<Response> {
  expectNoSecrets(JSON.stringify([...response.headers]))
  if (response.status >= 400) expectNoSecrets(await response.clone().text())
  return response
}

/** Output of all processes of a run goes into one folder, where the run looks for secrets in it. */
function keepOutput(text: string): void {
  const folder = process.env.HEADWATER_TEST_OUTPUT
  if (folder) {
    mkdirSync(folder, { recursive: true })
    appendFileSync(join(folder, `headwater-${process.pid}.log`), text)
  }
  expectNoSecrets(text)
}

/** Highest resident memory of a process so far, in bytes. */
export const peakMemory = (pid: number): Promise<number> => memoryOf(pid, 'VmHWM')

/** In bytes. */
export const residentMemory = (pid: number): Promise<number> => memoryOf(pid, 'VmRSS')

async function memoryOf(pid: number, name: string): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0) * 1024
}

/** Files of unfinished writes anywhere in a data folder. */
export async function temporaryFiles(data: string): Promise<string[]> {
  const found = await readdir(data, { recursive: true, withFileTypes: true }).catch(() => [])
  return found
    .filter((entry) => entry.isFile() && /\/\.(?:spool|tmp)(?:\/|$)/.test(`${entry.parentPath}/`))
    .map((entry) => join(entry.parentPath, entry.name))
}

/** I5 and the end of a test: waits until what is asked equals what was before, and throws with both where it does not. */
export async function returnsTo(
  before: number,
  ask: () => Promise<number>,
  timeoutMs = 10_000,
): Promise<void> {
  const end = Date.now() + timeoutMs
  for (;;) {
    const now = await ask()
    if (now <= before) return
    if (Date.now() > end) throw new Error(`${now} where there were ${before} before`)
    await sleep(100)
  }
}

export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true })
}
