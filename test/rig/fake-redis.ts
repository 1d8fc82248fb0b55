import { createServer, type Socket } from 'node:net'

/** Answers in RESP whatever the test wants; left alone, as an empty Redis that forgets what it is told. */
export interface FakeRedis {
  readonly port: number
  readonly url: string
  /** Every command so far, by its name in capitals. */
  readonly commands: readonly string[]
  accepted(): number
  /** What all commands but those of a connection's beginning are answered with, as it goes over the wire. */
  answer(reply: string | ((args: readonly string[]) => string) | undefined): void
  /** What AUTH is answered with, as it goes over the wire; undefined for yes. */
  refuseLogin(reply: string | undefined): void
  close(): Promise<void>
}

/** What a Redis that is not well, or no Redis, says to everything. */
export const nonsenseReplies = [
  '-LOADING Redis is loading the dataset in memory\r\n',
  '-BUSY Redis is busy running a script\r\n',
  '-MASTERDOWN Link with MASTER is down\r\n',
  '-CLUSTERDOWN The cluster is down\r\n',
  '-MOVED 1 127.0.0.1:1\r\n',
  '-NOAUTH Authentication required.\r\n',
  '-ERR of another kind\r\n',
  '+OK\r\n',
  ':7\r\n',
  '*2\r\n$1\r\n1\r\n$4\r\nnull\r\n',
  '$5\r\nhel',
  'HTTP/1.1 400 Bad Request\r\n\r\n',
  '',
] as const

export async function createFakeRedis(): Promise<FakeRedis> {
  const sockets = new Set<Socket>()
  const commands: string[] = []
  let accepted = 0
  let refused: string | undefined
  let scripted: ((args: readonly string[]) => string) | undefined

  const server = createServer((socket) => {
    accepted += 1
    sockets.add(socket)
    let pending = ''
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
    socket.on('data', (chunk) => {
      pending += chunk.toString('latin1')
      for (let read = readCommand(pending); read; read = readCommand(pending)) {
        pending = read.rest
        const name = read.args[0]?.toUpperCase() ?? ''
        commands.push(name)
        const refusal = name === 'AUTH' ? refused : undefined
        socket.write(refusal ?? setupReplies[name] ?? scripted?.(read.args) ?? emptyReply(name, read.args))
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }

  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    commands,
    accepted: () => accepted,
    answer(reply) {
      scripted = typeof reply === 'string' ? () => reply : reply
    },
    refuseLogin(reply) {
      refused = reply
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const info = 'redis_version:7.0.0\r\nloading:0\r\nrole:master\r\n'
const setupReplies: Readonly<Record<string, string>> = {
  AUTH: '+OK\r\n',
  SELECT: '+OK\r\n',
  CLIENT: '+OK\r\n',
  INFO: `$${info.length}\r\n${info}\r\n`,
}

function emptyReply(name: string, args: readonly string[]): string {
  if (name === 'HMGET') return `*${args.length - 2}\r\n${'$-1\r\n'.repeat(args.length - 2)}`
  if (name === 'EVAL') return ':1\r\n'
  if (name === 'HRANDFIELD' || name === 'ZRANGEBYLEX') return '*0\r\n'
  return '+OK\r\n'
}

/** A command is an array of bulk strings. Undefined while it is not whole. */
function readCommand(text: string): { args: string[]; rest: string } | undefined {
  const head = /^\*(\d+)\r\n/.exec(text)
  if (!head) return undefined
  const args: string[] = []
  let at = head[0].length
  for (let n = 0; n < Number(head[1]); n++) {
    const size = /^\$(\d+)\r\n/.exec(text.slice(at, at + 20))
    if (!size) return undefined
    const start = at + size[0].length
    const end = start + Number(size[1])
    if (text.length < end + 2) return undefined
    args.push(text.slice(start, end))
    at = end + 2
  }
  return { args, rest: text.slice(at) }
}
