import { fork } from 'node:child_process'
import type { ClientPlan, LoadJob, LoadResult } from './client-process.ts'

/** The clients of a load, in a process of their own. */
export interface Clients {
  readonly pid: number
  /** One job at a time. Throws with the first fault when any answer was not what it should be. */
  pull(url: string, clients: readonly ClientPlan[]): Promise<LoadResult>
  close(): Promise<void>
}

export function startClients(): Clients {
  const child = fork('test/rig/load/client-process.ts', { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))

  return {
    pid: child.pid!,
    async pull(url, clients) {
      const { hostname, port } = new URL(url)
      const job: LoadJob = { host: hostname, port: Number(port), clients }
      const result = await new Promise<LoadResult>((resolve, reject) => {
        child.once('message', (message) => resolve(message as LoadResult))
        void exited.then(() => reject(new Error('the clients ended')))
        child.send(job)
      })
      const fault = result.got.flat().find((got) => got.fault !== undefined)?.fault
      if (fault !== undefined) throw new Error(fault)
      return result
    },
    async close() {
      if (child.connected) child.disconnect()
      await exited
    },
  }
}

export function repeat<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index))
}
