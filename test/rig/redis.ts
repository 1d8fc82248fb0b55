import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { needPart } from './parts.ts'
import { type RunningProcess, startProcess } from './process.ts'

/** A real redis-server that keeps nothing on disk. */
export interface RedisServer {
  readonly port: number
  readonly url: string
  readonly pid: number
  /** Sends commands as one would type them, and gives what came back within a moment, as it was. */
  command(...line: string[]): Promise<string>
  /** From now on every command of a client, as MONITOR tells them; not those of scripts. */
  monitor(): Promise<{ readonly commands: readonly string[]; stop(): void }>
  signal(signal: NodeJS.Signals): void
  /** Ends it; `start` begins again at the same port with nothing in it. */
  kill(): Promise<void>
  start(): Promise<void>
  close(): Promise<void>
}

export async function startRedis(args: readonly string[] = []): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'headwater-redis-'))
  const port = await freePort()
  let running: RunningProcess | undefined

  async function start(): Promise<void> {
    running = await startProcess({
      command: needPart('redis-server'),
      args: [
        ...[
          '--port',
          String(port),
          '--bind',
          '127.0.0.1',
          '--save',
          '',
          '--appendonly',
          'no',
          '--dir',
          folder,
        ],
        ...args,
      ],
      ready: /Ready to accept connections/,
    })
  }
  await start()

  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    get pid() {
      return running!.pid
    },
    command: (...line) => redisCommand(port, line),
    monitor: () => monitor(port),
    signal: (signal) => running!.signal(signal),
    kill: () => running!.kill9(),
    start,
    async close() {
      await running?.kill9()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** One command on a connection of its own; the whole reply, as it was sent. */
export async function redisCommand(port: number, line: readonly string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  const parts = [...line, ''].map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).slice(0, -1)
  const quit = '*1\r\n$4\r\nQUIT\r\n'
  // a sentinel knows no QUIT, and ends with who asks it
  socket.end(`*${line.length}\r\n${parts.join('')}${quit}`)
  let reply = ''
  for await (const chunk of socket) reply += chunk
  return reply.replace(/(?:\+OK|-ERR unknown command 'QUIT'[^\r]*)\r\n$/, '')
}

async function monitor(port: number): Promise<{ readonly commands: readonly string[]; stop(): void }> {
  const socket = connect(port, '127.0.0.1')
  const commands: string[] = []
  const lines = createInterface({ input: socket })
  const begun = new Promise<void>((resolve) => lines.once('line', () => resolve()))
  lines.on('line', (line) => {
    const [, from, command] = /^\+[\d.]+ \[\d+ (\S+)\] (.*)$/.exec(line) ?? []
    if (command !== undefined && from !== 'lua') commands.push(command)
  })
  socket.on('error', () => {})
  socket.write('MONITOR\r\n')
  await begun
  return { commands, stop: () => socket.destroy() }
}

/** A port that nothing listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}
