import { setTimeout as sleep } from 'node:timers/promises'
import type { Headwater } from './headwater.ts'

/** Of each tenth of a second the process runs one tenth, as under a quota of 0.1 core: stopped and continued in turn. */
const onMs = 10
const offMs = 90

/** Until it is ended; then the process runs as before. Needs no rights, unlike a cgroup. */
export function throttle({ signal, exited }: Pick<Headwater, 'signal' | 'exited'>): {
  end(): Promise<void>
} {
  let going = true
  void exited.then(() => {
    going = false
  })
  const turns = (async () => {
    while (going) {
      signal('SIGSTOP')
      await sleep(offMs)
      signal('SIGCONT')
      await sleep(onMs)
    }
  })()
  return {
    async end() {
      going = false
      await turns
    },
  }
}
