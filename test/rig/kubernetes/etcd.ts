import { needPart } from '../parts.ts'
import { type RunningProcess, startProcess } from '../process.ts'
import { pickPort } from './port.ts'

export interface Etcd {
  readonly url: string
  readonly pid: number
  log(): string
  signal(signal: NodeJS.Signals): void
  /** Ends it and keeps what it stored; `start` brings it back on the same port. */
  stop(): Promise<void>
  start(): Promise<void>
}

/** An etcd on loopback that writes without waiting for the disk. */
export async function startEtcd(folder: string): Promise<Etcd> {
  const url = `http://127.0.0.1:${await pickPort()}`
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
    signal: (signal) => running.signal(signal),
    async stop() {
      await running.stop(2000)
    },
    start,
  }
}
