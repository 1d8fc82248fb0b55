import { connect, type Socket } from 'node:net'

export interface WireAnswer {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: Buffer
}

/** One connection, written to and read from as it is: for what no client would send. */
export interface Wire {
  readonly socket: Socket
  write(text: string | Buffer): void
  /** The next whole answer; undefined when the connection ends before one. `headless`: to a HEAD. */
  next(headless?: boolean): Promise<WireAnswer | undefined>
  /** Everything until the other side closes. */
  end(): Promise<string>
  readonly received: () => number
}

export async function openWire(port: number): Promise<Wire> {
  const socket = connect({ port, host: '127.0.0.1' })
  let data = Buffer.alloc(0)
  let room = Buffer.alloc(1 << 16)
  let total = 0
  let closed = false
  let wake = () => {}
  socket.on('data', (chunk: Buffer) => {
    if (data.length + chunk.length > room.length) room = Buffer.alloc(2 * (data.length + chunk.length))
    if (data.buffer !== room.buffer || data.byteOffset + data.length + chunk.length > room.length) {
      data.copy(room)
      data = room.subarray(0, data.length)
    }
    chunk.copy(room, data.byteOffset + data.length)
    data = room.subarray(data.byteOffset, data.byteOffset + data.length + chunk.length)
    total += chunk.length
    wake()
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    closed = true
    wake()
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', () => resolve())
    socket.once('error', reject)
  })

  async function more(): Promise<boolean> {
    if (closed) return false
    const before = total
    await new Promise<void>((resolve) => {
      wake = resolve
    })
    return total > before || !closed
  }

  return {
    socket,
    received: () => total,
    write(text) {
      socket.write(text)
    },
    async next(headless = false) {
      for (;;) {
        const parsed = parseAnswer(data, headless)
        if (parsed !== undefined) {
          data = data.subarray(parsed.to)
          return parsed.answer
        }
        if (!(await more())) return undefined
      }
    },
    async end() {
      while (await more());
      return data.toString('latin1')
    },
  }
}

/** Undefined while it is not whole. */
function parseAnswer(data: Buffer, headless: boolean): { answer: WireAnswer; to: number } | undefined {
  const end = data.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const [first = '', ...lines] = data.subarray(0, end).toString('latin1').split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => {
      const [name = ''] = line.split(':', 1)
      return [name.toLowerCase(), line.slice(name.length + 1).trim()]
    }),
  )
  const status = Number(first.split(' ')[1])
  const bodiless = headless || status === 304
  const body =
    headers['transfer-encoding'] === 'chunked' && !bodiless
      ? unchunk(data, end + 4)
      : whole(data, end + 4, bodiless ? 0 : Number(headers['content-length'] ?? 0))
  return body && { answer: { status, headers, body: body.bytes }, to: body.to }
}

function whole(data: Buffer, from: number, length: number) {
  return data.length < from + length
    ? undefined
    : { bytes: Buffer.from(data.subarray(from, from + length)), to: from + length }
}

function unchunk(data: Buffer, from: number) {
  const parts: Buffer[] = []
  let at = from
  for (;;) {
    const line = data.indexOf('\r\n', at)
    if (line < 0) return undefined
    const size = Number.parseInt(data.subarray(at, line).toString(), 16)
    if (data.length < line + 2 + size + 2) return undefined
    parts.push(data.subarray(line + 2, line + 2 + size))
    at = line + 2 + size + 2
    if (size === 0) return { bytes: Buffer.concat(parts), to: at }
  }
}

/** Sends one request, raw, and gives the one answer to it. */
export async function ask(port: number, request: string | Buffer, headless = false): Promise<WireAnswer> {
  const wire = await openWire(port)
  wire.write(request)
  const answer = await wire.next(headless)
  wire.socket.destroy()
  if (answer === undefined) throw new Error('the connection was closed without an answer')
  return answer
}

export async function request(
  port: number,
  target: string,
  {
    method = 'GET',
    headers = {},
    host = 'localhost',
  }: { method?: string; headers?: Record<string, string>; host?: string } = {},
): Promise<WireAnswer> {
  const lines = Object.entries({ Host: host, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  return await ask(port, `${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`, method === 'HEAD')
}
