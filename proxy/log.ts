import { type DestinationStream, type Logger, pino } from 'pino'
import { type LogDestination, openLogDestination } from './log-destination.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface Log {
  readonly logger: Logger
  /** Writes a line that is JSON already, with its newline: for those that are too many to be made by the logger. */
  writeLine(line: string): void
  /** Resolves when all lines so far are handed to the system. */
  flush(): Promise<void>
  /** For the end of the process: what was buffered is written before this returns. */
  flushSync(): void
}

export interface LogOptions {
  readonly level: LogLevel
  readonly format: 'json' | 'pretty'
  /** A file descriptor or a path; 1 when left out. */
  readonly destination?: number | string | LogDestination
}

const batchLength = 32 * 1024
const batchMs = 100

/** Lines are gathered and written off the path; when the destination is stuck, later lines are dropped, never the process. */
export function createLogger({ level, format, destination = 1 }: LogOptions): Log {
  const target = typeof destination === 'object' ? destination : openLogDestination(destination)
  const batch = createBatch(format === 'pretty' ? (text) => target.write(prettify(text)) : target.write)
  const logger = pino(
    {
      level,
      base: null,
      serializers: { err: describeError },
      redact: ['authorization', 'password', 'token', 'credentials', 'headers'],
    },
    { write: batch.write } satisfies DestinationStream,
  )
  return {
    logger,
    writeLine: batch.write,
    async flush() {
      batch.release()
      await target.flush()
    },
    flushSync() {
      batch.release()
      target.flushSync()
    },
  }
}

/** Gathers lines, so that a line on the path costs no more than a concatenation. */
function createBatch(write: (text: string) => void) {
  let pending = ''
  let timer: NodeJS.Timeout | undefined

  function release(): void {
    clearTimeout(timer)
    timer = undefined
    if (pending === '') return
    const text = pending
    pending = ''
    write(text)
  }

  return {
    release,
    write(line: string): void {
      pending += line
      if (pending.length >= batchLength) release()
      else timer ??= setTimeout(release, batchMs).unref()
    },
  }
}

/** Only what is known to hold no secret: errors of libraries carry requests, headers and options along. */
function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return { message: String(error) }
  const { name, message, stack, cause } = error
  const { code, kind, status } = error as { code?: unknown; kind?: unknown; status?: unknown }
  return {
    type: name,
    message,
    code,
    kind,
    status,
    stack,
    cause: cause === undefined || depth >= 4 ? undefined : describeError(cause, depth + 1),
  }
}

const levelNames: Readonly<Record<number, string>> = { 20: 'DEBUG', 30: 'INFO', 40: 'WARN', 50: 'ERROR' }

/** For eyes: time, level, message and then the fields, one line each; stacks below. */
function prettify(lines: string): string {
  return lines.trimEnd().split('\n').map(prettifyLine).join('')
}

function prettifyLine(line: string): string {
  const { time, level, msg, err, ...fields } = JSON.parse(line)
  const shown = Object.entries(fields).map(([name, value]) => `${name}=${formatValue(value)}`)
  const head = [new Date(time).toISOString().slice(11, 23), levelNames[level] ?? level, msg ?? '', ...shown]
  return `${head.join(' ')}\n${err?.stack ? `${err.stack}\n` : ''}`
}

function formatValue(value: unknown): string {
  return typeof value === 'string' && /^[\w./:@+-]+$/.test(value) ? value : JSON.stringify(value)
}
