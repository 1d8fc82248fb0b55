import { setTimeout as sleepFor } from 'node:timers/promises'
import { ProxyState, statePath } from '../../proxy/routes.ts'

export interface ReadStateOptions {
  /** Of the proxy's internal listener, without a path. */
  readonly url: string
  /** The `Authorization` of a request. */
  sign(method: string, target: string, now: number): string
  onState(state: ProxyState): void
  /** Told whenever it cannot be read, with a few words for people; they are the same for the same trouble. */
  onTrouble(trouble: string): void
  readonly signal: AbortSignal
  readonly waitSeconds?: number
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>
}

const longestState = 32 * 1024 * 1024
/** Beyond what it was asked to wait. */
const patienceMs = 10_000
const betweenMs = 100
const firstRetryMs = 500
const longestRetryMs = 10_000

/** Follows what one proxy says of itself until the signal is aborted. */
export async function readState(options: ReadStateOptions): Promise<void> {
  const { onState, onTrouble, signal, sleep = sleepQuietly } = options
  let version: string | undefined
  let retryMs = firstRetryMs

  while (!signal.aborted) {
    try {
      const state = await ask(options, version)
      if (signal.aborted) return
      // 304 also ends a trouble: what was known stands
      if (state !== undefined) version = state.version
      if (state !== undefined) onState(state)
      retryMs = firstRetryMs
      await sleep(betweenMs, signal)
    } catch (error) {
      if (signal.aborted) return
      version = undefined
      onTrouble(wordsFor(error))
      await sleep(retryMs, signal)
      retryMs = Math.min(longestRetryMs, 2 * retryMs)
    }
  }
}

/** A proxy that does not answer as one. */
class StateError extends Error {
  override readonly name = 'StateError'
}

/** Undefined when there is no other version than the known one. */
async function ask(
  { url, sign, signal, waitSeconds = 30 }: ReadStateOptions,
  known: string | undefined,
): Promise<ProxyState | undefined> {
  const target = known === undefined ? statePath : `${statePath}?after=${known}&wait=${waitSeconds}`
  const patience = AbortSignal.timeout(patienceMs + (known === undefined ? 0 : 1000 * waitSeconds))
  const answer = await fetch(`${url}${target}`, {
    headers: { authorization: sign('GET', target, Date.now()) },
    redirect: 'error',
    signal: AbortSignal.any([signal, patience]),
  })
  if (answer.status === 304) return undefined
  if (answer.status !== 200) {
    await answer.body?.cancel()
    throw new StateError(
      answer.status === 401 ? 'it does not take the cluster key' : `it says ${answer.status}`,
    )
  }
  const parsed = ProxyState.safeParse(parseJson(await readText(answer)))
  if (!parsed.success) throw new StateError('what it says cannot be read')
  return parsed.data
}

async function readText({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body ?? []) {
    size += chunk.length
    if (size > longestState) throw new StateError('it says too much')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function wordsFor(error: unknown): string {
  if (error instanceof StateError) return error.message
  if (error instanceof Error && error.name === 'TimeoutError') return 'it does not answer'
  const { code } = ((error as Error).cause ?? error) as NodeJS.ErrnoException
  return typeof code === 'string' ? code : 'it cannot be reached'
}

async function sleepQuietly(ms: number, signal: AbortSignal): Promise<void> {
  await sleepFor(ms, undefined, { signal, ref: false }).catch(() => {})
}
