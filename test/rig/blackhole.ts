import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { startProcess } from './process.ts'

/**
 * A port of this machine that answers no SYN: its process is stopped and its queue is full. Nothing else is touched, so
 * it needs neither root nor a firewall.
 */
export interface Blackhole {
  readonly host: string
  readonly port: number
  readonly url: string
  close(): Promise<void>
}

/** A port that leads to another one of this machine until it is frozen: a black hole then, also for what is open. */
export interface FreezingPort extends Blackhole {
  freeze(): Promise<void>
  thaw(): void
}

export async function createBlackhole(): Promise<Blackhole> {
  const port = await createFreezingPort(0)
  await port.freeze()
  return port
}

export async function createFreezingPort(to: number): Promise<FreezingPort> {
  const script = `const { connect, createServer } = require('node:net')
    const server = createServer((client) => {
      const target = connect(${to}, '127.0.0.1')
      client.on('error', () => {}).on('close', () => target.destroy()).pipe(target)
      target.on('error', () => {}).on('close', () => client.destroy()).pipe(client)
    })
    server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log('port ' + server.address().port + ' '))`
  const listener = await startProcess({
    command: process.execPath,
    args: ['-e', script],
    ready: /port (\d+) /,
  })
  const port = Number(listener.ready[1])
  const queue: Socket[] = []
  const release = () => {
    for (const socket of queue.splice(0)) socket.destroy()
  }
  return {
    host: `127.0.0.1:${port}`,
    port,
    url: `http://127.0.0.1:${port}`,
    async freeze() {
      listener.signal('SIGSTOP')
      for (let full = false; !full && queue.length < 64; ) {
        const socket = connect(port, '127.0.0.1')
        socket.on('error', () => {})
        queue.push(socket)
        full = !(await Promise.race([
          new Promise<boolean>((resolve) => socket.once('connect', () => resolve(true))),
          sleep(300, false),
        ]))
      }
    },
    thaw() {
      release()
      listener.signal('SIGCONT')
    },
    async close() {
      release()
      await listener.kill9()
    },
  }
}
