import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'

export interface RunningProcess {
  readonly pid: number
  /** What matched `ready`. */
  readonly ready: RegExpExecArray
  /** Its standard output and error in one, the last 8 MiB of it. */
  log(): string
  /** Resolves with the exit code, or the signal's name, once it ended by itself or by one of ours. */
  readonly exited: Promise<number | NodeJS.Signals>
  hasEnded(): boolean
  signal(signal: NodeJS.Signals): void
  /** SIGTERM, and after `graceMs` SIGKILL. Safe to repeat. */
  stop(graceMs?: number): Promise<number | NodeJS.Signals>
  kill9(): Promise<void>
}

const logLimit = 8 * 1024 * 1024

/** Starts a program and waits until its output matches `ready`; what it said last is in the error where it does not. */
export async function startProcess({
  command,
  args = [],
  env = {},
  cwd,
  ready,
  timeoutMs = 90_000,
}: {
  command: string
  args?: readonly string[]
  env?: Record<string, string | undefined>
  cwd?: string | undefined
  ready: RegExp
  timeoutMs?: number
}): Promise<RunningProcess> {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  endWithUs(child)
  let text = ''
  let look = () => {}
  const hear = (chunk: Buffer): void => {
    text = (text + chunk).slice(-logLimit)
    look()
  }
  child.stdout.on('data', hear)
  child.stderr.on('data', hear)
  const exited = exitOf(child)

  const match = await new Promise<RegExpExecArray>((resolve, reject) => {
    const fail = (reason: string) =>
      reject(new Error(`${command} ${args.join(' ')}: ${reason}\n${lastLines(text)}`))
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      fail(`not ready after ${timeoutMs} ms`)
    }, timeoutMs)
    look = () => {
      const found = ready.exec(text)
      if (!found) return
      clearTimeout(timer)
      look = () => {}
      resolve(found)
    }
    child.once('error', (error) => fail(error.message))
    void exited.then((code) => {
      clearTimeout(timer)
      fail(`ended with ${code}`)
    })
  })

  const stop = async (graceMs = 10_000): Promise<number | NodeJS.Signals> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    const late = new AbortController()
    void sleep(graceMs, undefined, { signal: late.signal }).then(
      () => child.kill('SIGKILL'),
      () => {},
    )
    const code = await exited
    late.abort()
    return code
  }

  return {
    pid: child.pid!,
    ready: match,
    log: () => text,
    exited,
    hasEnded: () => child.exitCode !== null || child.signalCode !== null,
    signal: (signal) => void child.kill(signal),
    stop,
    async kill9() {
      child.kill('SIGKILL')
      await exited
    },
  }
}

/** The end of what a program said, short enough for an error: the reason for it is there. */
export function lastLines(text: string, count = 30): string {
  const lines = text.trimEnd().split('\n').slice(-count)
  return lines.map((line) => line.slice(0, 500)).join('\n')
}

const ours = new Set<ChildProcess>()

/** A program does not outlive a test that dies before it could stop it. */
function endWithUs(child: ChildProcess): void {
  if (ours.size === 0) process.once('exit', killOurs)
  ours.add(child)
  child.once('close', () => {
    ours.delete(child)
    if (ours.size === 0) process.off('exit', killOurs)
  })
}

function killOurs(): void {
  for (const child of ours) child.kill('SIGKILL')
}

function exitOf(child: ChildProcess): Promise<number | NodeJS.Signals> {
  return new Promise((resolve) => {
    child.once('close', (code, signal) => resolve(code ?? signal ?? 0))
    child.once('error', () => resolve(127))
  })
}

export interface Ran {
  readonly code: number | NodeJS.Signals
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end; a code that is not 0 is an answer, not an error. */
export async function run(
  command: string,
  args: readonly string[],
  {
    env = {},
    cwd,
    input,
    timeoutMs = 120_000,
  }: {
    env?: Record<string, string | undefined>
    cwd?: string
    input?: string | Buffer
    timeoutMs?: number
  } = {},
): Promise<Ran> {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    cwd,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  const code = await exitOf(child)
  clearTimeout(timer)
  return { code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }
}

/** As `run`, and throws with what it said where the code is not 0. */
export async function mustRun(...call: Parameters<typeof run>): Promise<string> {
  const { code, stdout, stderr } = await run(...call)
  if (code !== 0) throw new Error(`${call[0]} ${call[1].join(' ')} ended with ${code}\n${stdout}${stderr}`)
  return stdout
}
