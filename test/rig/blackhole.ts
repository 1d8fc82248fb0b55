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

export async function createBlackhole(): Promise<Blackhole> {
  const script = `const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 },
    () => console.log('port ' + server.address().port + ' '))`
  const listener = await startProcess({
    command: process.execPath,
    args: ['-e', script],
    ready: /port (\d+) /,
  })
  const port = Number(listener.ready[1])
  listener.signal('SIGSTOP')

  const queue: Socket[] = []
  for (let full = false; !full && queue.length < 64; ) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    queue.push(socket)
    full = !(await Promise.race([
      new Promise<boolean>((resolve) => socket.once('connect', () => resolve(true))),
      sleep(300, false),
    ]))
  }
  return {
    host: `127.0.0.1:${port}`,
    port,
    url: `http://127.0.0.1:${port}`,
    async close() {
      for (const socket of queue) socket.destroy()
      await listener.kill9()
    },
  }
}
