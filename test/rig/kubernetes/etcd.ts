import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { needPart } from '../parts.ts'
import { type RunningProcess, startProcess } from '../process.ts'
import { onFreePort } from './port.ts'

export interface Etcd {
  readonly url: string
  readonly pid: number
  log(): string
  hasEnded(): boolean
  signal(signal: NodeJS.Signals): void
  /** Ends it and keeps what it stored; `start` brings it back on the same port. */
  stop(): Promise<void>
  start(): Promise<void>
}

/** Two files of its log, which it makes ahead of what it writes, and as much again for what is in it. */
const neededBytes = 256 * 2 ** 20

/** An etcd on loopback that writes without waiting for the disk. */
export async function startEtcd(folder: string): Promise<Etcd> {
  await needRoom(dirname(folder))
  return onFreePort((port) => startOn(`http://127.0.0.1:${port}`, folder))
}

async function startOn(url: string, folder: string): Promise<Etcd> {
  let running: RunningProcess
  const start = async (): Promise<void> => {
    running = await startProcess({
      command: needPart('etcd'),
      args: [
        ...['--data-dir', folder, '--unsafe-no-fsync', '--log-level', 'info'],
        ...['--listen-client-urls', url, '--advertise-client-urls', url],
        ...['--listen-peer-urls', 'http://127.0.0.1:0'],
      ],
      ready: /ready to serve client requests/,
    })
  }
  await start()
  return {
    url,
    get pid() {
      return running.pid
    },
    log: () => running.log(),
    hasEnded: () => running.hasEnded(),
    signal: (signal) => running.signal(signal),
    async stop() {
      await running.stop(2000)
    },
    start,
  }
}

/** On a full disk it ends in the middle of a test, and what is seen of that is an API server that says nothing. */
async function needRoom(folder: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder)
  const freeMiB = Math.floor((bavail * bsize) / 2 ** 20)
  if (bavail * bsize < neededBytes) {
    throw new Error(`etcd needs ${neededBytes / 2 ** 20} MiB, and ${freeMiB} MiB are free in ${folder}`)
  }
}
