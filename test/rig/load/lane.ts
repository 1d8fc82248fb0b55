import { createHash } from 'node:crypto'
import { connect } from 'node:net'

/** One GET of a load. */
export interface Get {
  readonly path: string
  /** Bytes the body has to have. */
  readonly size: number
  /** Lower-case hex of sha256, for the few whose bytes are looked at. */
  readonly sha256?: string | undefined
  readonly bytesPerSecond?: number | undefined
  /** Leaves, with the connection, once so many bytes of the body have come; 0: as soon as the request is sent. */
  readonly leaveAfter?: number | undefined
}

export interface Got {
  readonly path: string
  /** From the request to the first byte of the body, and to the last; undefined where there was none. */
  readonly firstByteMs: number | undefined
  readonly lastByteMs: number | undefined
  readonly bytes: number
  /** Undefined when all was as it should be. */
  readonly fault: string | undefined
}

/** A connection that asks for one thing after another and throws away what it gets. */
export interface Lane {
  get(get: Get): Promise<Got>
  close(): void
}

/** All lanes of a process read into the same memory: what is in it is looked at before the next read. */
const shared = Buffer.allocUnsafeSlow(1024 * 1024)

export function openLane(host: string, port: number): Lane {
  let reading: ((bytes: Buffer) => boolean) | undefined
  let broken: ((fault: string) => void) | undefined
  const socket = connect({
    host,
    port,
    noDelay: true,
    onread: {
      buffer: shared,
      callback: (length, buffer) => reading?.((buffer as Buffer).subarray(0, length)) ?? true,
    },
  })
  socket.on('error', (error) => broken?.(error.message))
  socket.on('close', () => broken?.('the connection ended'))

  function get(get: Get): Promise<Got> {
    const { path, sha256, bytesPerSecond, leaveAfter = Number.POSITIVE_INFINITY } = get
    const startedAt = performance.now()
    const hash = sha256 === undefined ? undefined : createHash('sha256')
    const readHead = createHeadReader(get)
    let firstByteMs: number | undefined
    let bytes = 0
    return new Promise((resolve) => {
      const end = (fault: string | undefined) => {
        reading = broken = undefined
        const lastByteMs = fault === undefined ? performance.now() - startedAt : undefined
        resolve({ path, firstByteMs, lastByteMs, bytes, fault })
        if (fault !== undefined) socket.destroy()
      }
      const leave = () => {
        end(undefined)
        // one half says goodbye, the other does not
        if (Math.random() < 0.5) socket.destroy()
        else socket.resetAndDestroy()
      }
      broken = end
      reading = (chunk) => {
        const body = readHead(chunk, end)
        if (body === undefined) return true
        firstByteMs ??= performance.now() - startedAt
        bytes += body.length
        hash?.update(body)
        if (bytes >= leaveAfter) leave()
        else if (bytes >= get.size) end(faultOf(get, bytes, hash?.digest('hex')))
        return keepsPace(bytes, startedAt, bytesPerSecond)
      }
      socket.write(requestLines(path, `${host}:${port}`), () => {
        if (leaveAfter === 0 && broken === end) leave()
      })
    })
  }

  /** False, and reading again later, for who has read more than its pace allows. */
  function keepsPace(bytes: number, startedAt: number, bytesPerSecond: number | undefined): boolean {
    if (bytesPerSecond === undefined) return true
    const early = startedAt + (bytes / bytesPerSecond) * 1000 - performance.now()
    if (early < 5) return true
    setTimeout(() => socket.resume(), early)
    return false
  }

  return { get, close: () => void socket.destroy() }
}

function requestLines(path: string, host: string): string {
  const accept = 'application/vnd.oci.image.manifest.v1+json'
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: load\r\nAccept: ${accept}\r\n\r\n`
}

/** Gives what a chunk holds of the body; undefined while there is none, and when the head is not as it should be. */
function createHeadReader({ path, size }: Get) {
  let head = ''
  let complete = false

  return (chunk: Buffer, fail: (fault: string) => void): Buffer | undefined => {
    if (complete) return chunk
    const seen = head.length
    head += chunk.toString('latin1')
    const behind = head.indexOf('\r\n\r\n') + 4
    if (behind < 4) return undefined
    complete = true
    const status = head.slice(9, 12)
    const announced = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1])
    if (status !== '200' || announced !== size) {
      fail(`${path}: ${status} with ${announced} instead of ${size} bytes`)
      return undefined
    }
    return behind === head.length ? undefined : chunk.subarray(behind - seen)
  }
}

function faultOf({ path, size, sha256 }: Get, bytes: number, hex: string | undefined): string | undefined {
  if (bytes > size) return `${path}: more than ${size} bytes`
  return hex === sha256 ? undefined : `${path}: other bytes`
}
