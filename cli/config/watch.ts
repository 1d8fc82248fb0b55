import { type FSWatcher, watch } from 'node:fs'
import { basename, dirname } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { type Configuration, loadConfiguration } from './load.ts'
import { signatureOf } from './read-files.ts'

export interface WatchOptions {
  /** The fingerprint of the configuration that is known: a change between loading and watching is not lost. */
  readonly since: string
  /** Called with each configuration whose text is another than the last one's, also a bad one; one at a time. */
  onChange(configuration: Configuration): void | Promise<void>
  /** Ends the watch; nothing is called afterwards. */
  readonly signal: AbortSignal
  /** How long the files must be quiet before they are read. */
  readonly quietMs?: number
  /** How often they are looked at when no event came: for file systems that send none, and for swapped links. */
  readonly pollMs?: number
}

/** How long a file that keeps changing is waited for, in spells of `quietMs`, before it is taken as it is. */
const maxReads = 10

/** Notices edits of the files and folders: written in place, renamed over, added, removed, or a symbolic link swapped. */
export function watchConfiguration(
  paths: readonly string[],
  { since, onChange, signal, quietMs = 200, pollMs = 5000 }: WatchOptions,
): void {
  if (signal.aborted) return
  let known = since
  let signature: string | undefined
  let watchers: FSWatcher[] = []
  let running = false
  let again = false
  const poll = setInterval(() => void check(), pollMs)
  poll.unref()
  signal.addEventListener('abort', stop, { once: true })
  void check()

  function stop() {
    clearInterval(poll)
    for (const watcher of watchers.splice(0)) watcher.close()
  }

  /** One at a time; an edit during a check is looked at after it. */
  async function check(): Promise<void> {
    again = true
    if (running) return
    running = true
    try {
      while (again && !signal.aborted) {
        again = false
        await look()
      }
    } finally {
      running = false
    }
  }

  async function look(): Promise<void> {
    if ((await signatureOf(paths)) === signature || signal.aborted) return
    for (const watcher of watchers.splice(0)) watcher.close()
    // anew: a watch stays with what was there, not with the name
    watchers = watchPaths(paths, () => void check())

    const { configuration, signature: read } = await loadAtRest(paths, quietMs)
    signature = read
    if (signal.aborted || configuration.fingerprint === known) return
    known = configuration.fingerprint
    await onChange(configuration)
  }
}

/** Reads what did not change for a while, nor while it was read: an editor may be half way through. */
async function loadAtRest(paths: readonly string[], quietMs: number) {
  for (let reads = 1; ; reads += 1) {
    const before = await signatureOf(paths)
    await setTimeout(quietMs, undefined, { ref: false })
    const isQuiet = (await signatureOf(paths)) === before
    if (!isQuiet && reads < maxReads) continue
    const configuration = await loadConfiguration(paths)
    const signature = await signatureOf(paths)
    if (signature === before || reads >= maxReads) return { configuration, signature }
  }
}

/** What cannot be watched is left to the poll. */
function watchPaths(paths: readonly string[], onEvent: () => void): FSWatcher[] {
  const watchers: FSWatcher[] = []
  const add = (path: string, concerns: (name: string | null) => boolean) => {
    try {
      const watcher = watch(path, { persistent: false }, (_, name) => {
        if (concerns(name)) onEvent()
      })
      watcher.on('error', () => watcher.close())
      watchers.push(watcher)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error
    }
  }
  for (const path of paths) {
    add(path, (name) => name === null || name === basename(path) || /^\.\.|\.ya?ml$/.test(name))
    // a name beginning with two dots is how Kubernetes swaps the contents of a mounted ConfigMap
    add(dirname(path), (name) => name === null || name === basename(path) || name.startsWith('..'))
  }
  return watchers
}
