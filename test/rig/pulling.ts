import { createHash } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import type { Headwater } from './headwater.ts'

export interface Pulled {
  readonly status: number
  readonly headers: Headers
  readonly bytes: number
  readonly digest: string
}

/** Pulls a path to its end and hashes what came. Throws when the connection is cut. */
export async function pull(headwater: Headwater, path: string, init?: RequestInit): Promise<Pulled> {
  const response = await headwater.get(path, init)
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    hash.update(chunk)
  }
  return { status: response.status, headers: response.headers, bytes, digest: `sha256:${hash.digest('hex')}` }
}

export interface RawClient {
  readonly socket: Socket
  /** Bytes that came so far, head and all. */
  received(): number
  text(): string
  readonly closed: Promise<void>
}

/** A client on a bare socket that reads only while `reading`: slow, half-gone or silent as the test wants. */
export function rawClient(headwater: Headwater, request: string, { reading = true } = {}): RawClient {
  const [host = '', port] = headwater.host.split(':')
  const socket = connect(Number(port), host, () => socket.write(request))
  let received = 0
  let text = ''
  socket.on('error', () => {})
  if (reading) {
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length
      if (text.length < 65_536) text += chunk.toString('latin1')
    })
  }
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  return { socket, received: () => received, text: () => text, closed }
}

export function getRequest(path: string, headers: Readonly<Record<string, string>> = {}): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `GET ${path} HTTP/1.1\r\nHost: registry.test\r\n${lines.join('')}\r\n`
}
