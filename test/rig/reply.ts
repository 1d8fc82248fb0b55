import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Source } from './source.ts'

/** An answer as it is about to be sent, and how. Faults change it. */
export interface Reply {
  status: number
  statusText: string | undefined
  /** Names in lower case; undefined leaves the header out, a list sends it several times. */
  headers: Record<string, string | string[] | undefined>
  body: Source
  /** The resource the body was cut from by a Range. */
  whole: Source
  /** `close`: neither length nor chunks, the end of the connection ends the body. */
  framing: 'length' | 'chunked' | 'close'
  version: '1.1' | '1.0'
  delayMs: number
  /** Waited for before anything is sent. */
  hold: Promise<unknown> | undefined
  /** After so many bytes of the body nothing more is sent, and the connection stays. */
  stallAt: number | undefined
  cut: { at: number; by: 'fin' | 'rst' } | undefined
  /** Positions in the body whose byte is sent with every bit turned. */
  corrupt: number[]
  bytesPerSecond: number | undefined
  /** Cuts the body at the next multiple of `every` bytes once the reader has not read for `ms`. */
  impatience: { ms: number; every: number } | undefined
  /** Sent as they are in place of everything else; `after` is what happens to the connection then. */
  raw: { bytes: Buffer; after: 'fin' | 'rst' | 'stay' } | undefined
}

/** What a request has cost so far. */
export interface Sending {
  bodyBytesSent: number
  /** `gone`: the client went away before the end. */
  outcome: 'pending' | 'finished' | 'cut' | 'stalled' | 'gone'
}

interface Wire {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** The TCP socket, also below TLS. */
  readonly tcp: Socket
  readonly bytesPerSecond: number | undefined
  readonly sending: Sending
}

/** Sends a reply to its end, or to where its fault lets it come. */
export async function sendReply(reply: Reply, wire: Wire): Promise<void> {
  const { response, tcp, sending } = wire
  if (reply.delayMs > 0) await sleep(reply.delayMs)
  if (reply.hold) await reply.hold
  const socket = response.socket
  if (!socket || socket.destroyed) {
    sending.outcome = 'gone'
    return
  }
  if (reply.raw) {
    await written(socket, reply.raw.bytes)
    sending.outcome = 'cut'
    if (reply.raw.after !== 'stay') await end(tcp, socket, reply.raw.after)
    return
  }

  const plain = reply.version === '1.1' && reply.framing !== 'close'
  const out = plain ? response : socket
  if (plain) response.writeHead(reply.status, reply.statusText ?? '', flat(reply))
  else await written(socket, Buffer.from(headText(reply)))

  const headOnly = wire.request.method === 'HEAD' || reply.status === 204 || reply.status === 304
  sending.outcome = headOnly && reply.cut?.at !== 0 ? 'finished' : await sendBody(reply, wire, out, socket)
  if (sending.outcome === 'finished') out.end()
  if (sending.outcome === 'cut') await end(tcp, socket, reply.cut?.by ?? 'fin')
}

async function sendBody(
  reply: Reply,
  { sending, response, bytesPerSecond = Infinity }: Wire,
  out: ServerResponse | Socket,
  socket: Socket,
): Promise<Sending['outcome']> {
  const limit = Math.min(reply.body.size, reply.cut?.at ?? Infinity, reply.stallAt ?? Infinity)
  const rate = Math.min(reply.bytesPerSecond ?? Infinity, bytesPerSecond)
  const { impatience } = reply
  if (out === response) response.flushHeaders()

  let due = performance.now()
  let cutAt = limit
  for (const whole of reply.body.read(0, limit)) {
    for (const piece of pieces(whole, rate)) {
      if (socket.destroyed) return 'gone'
      const started = performance.now()
      const part = piece.subarray(0, cutAt - sending.bodyBytesSent)
      await written(out, corrupted(part, sending.bodyBytesSent, reply.corrupt), socket)
      sending.bodyBytesSent += part.length
      if (cutAt < limit && sending.bodyBytesSent === cutAt) return 'cut'
      if (impatience && cutAt === limit && performance.now() - started > impatience.ms) {
        cutAt = Math.min(limit, (Math.floor(sending.bodyBytesSent / impatience.every) + 1) * impatience.every)
      }
      if (rate === Infinity) continue
      due = Math.max(due, performance.now() - 50) + (piece.length / rate) * 1000
      const ahead = due - performance.now()
      if (ahead > 1) await sleep(ahead)
    }
  }
  if (socket.destroyed) return 'gone'
  if (limit === reply.stallAt) return 'stalled'
  return limit === reply.cut?.at ? 'cut' : 'finished'
}

/** A low rate is sent in small pieces, a hundred a second or one byte at a time. */
function* pieces(whole: Buffer, rate: number): Iterable<Buffer> {
  const size = Math.max(1, Math.min(whole.length, Math.floor(rate / 100)))
  const step = rate === Infinity ? whole.length : size
  for (let at = 0; at < whole.length; at += step) yield whole.subarray(at, at + step)
}

function corrupted(piece: Buffer, at: number, positions: readonly number[]): Buffer {
  const hits = positions.filter((position) => position >= at && position < at + piece.length)
  if (hits.length === 0) return piece
  const copy = Buffer.from(piece)
  for (const position of hits) copy[position - at] = ~copy[position - at]! & 0xff
  return copy
}

/** Resolves when the kernel took the bytes, or the connection is gone. */
function written(out: ServerResponse | Socket, bytes: Buffer, socket: Socket = out as Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      socket.off('close', done)
      resolve()
    }
    socket.once('close', done)
    if (socket.destroyed) done()
    else out.write(bytes, done)
  })
}

/** A reset throws away what the peer has not read yet, so the bytes before it get a moment to arrive. */
async function end(tcp: Socket, socket: Socket, by: 'fin' | 'rst'): Promise<void> {
  await sleep(by === 'rst' ? 30 : 0)
  if (by === 'rst') tcp.resetAndDestroy()
  else socket.destroySoon()
}

function flat(reply: Reply): string[] {
  const headers = { ...reply.headers }
  if (reply.framing === 'chunked') {
    delete headers['content-length']
    headers['transfer-encoding'] = 'chunked'
  }
  return Object.entries(headers).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : value === undefined ? [] : [value]).flatMap((one) => [name, one]),
  )
}

function headText(reply: Reply): string {
  const list = flat(reply)
  const lines: string[] = []
  for (let at = 0; at < list.length; at += 2) {
    if (reply.framing === 'close' && list[at] === 'content-length') continue
    lines.push(`${list[at]}: ${list[at + 1]}`)
  }
  return [
    `HTTP/${reply.version} ${reply.status} ${reply.statusText ?? 'OK'}`,
    ...lines,
    'connection: close',
    '',
    '',
  ].join('\r\n')
}
