/**
 * How one replica sends a fill to another. A stream of frames, each a byte that says what it is, four that say how long,
 * and so many of content: of a length that nobody knows yet, with a sign of life while nothing comes, and with an end
 * that differs from a cut.
 */
export const frameTypes = { beat: 0, size: 1, data: 2, end: 3 } as const

export type FrameType = keyof typeof frameTypes

export interface Frame {
  readonly type: FrameType
  /** Of data only a part, if it came in parts. */
  readonly bytes: Buffer
}

const headBytes = 5
/** Others than data are short. */
const maxShortBytes = 64
export const maxDataBytes = 1024 * 1024

const names = Object.keys(frameTypes) as FrameType[]

export function frameHead(type: FrameType, length: number): Buffer {
  const head = Buffer.allocUnsafe(headBytes)
  head.writeUInt8(frameTypes[type], 0)
  head.writeUInt32BE(length, 1)
  return head
}

/** The size as digits, none where it is not known. */
export function sizeFrame(size: number | undefined): Buffer {
  const text = Buffer.from(size === undefined ? '' : String(size))
  return Buffer.concat([frameHead('size', text.length), text])
}

export function readSize(bytes: Buffer): number | undefined {
  const text = bytes.toString('latin1')
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

/** Reads frames out of what comes, however it is cut. Throws for what is none. */
export function createFrameReader(take: (frame: Frame) => void): (chunk: Buffer) => void {
  let pending: Buffer = Buffer.alloc(0)
  let dataLeft = 0

  /** Gives what is behind the data. */
  function readData(bytes: Buffer): Buffer {
    const data = bytes.subarray(0, dataLeft)
    dataLeft -= data.length
    if (data.length > 0) take({ type: 'data', bytes: data })
    return bytes.subarray(data.length)
  }

  /** Gives what is behind a frame, or the head of data; undefined when not all of it has come. */
  function readFrame(bytes: Buffer): Buffer | undefined {
    if (bytes.length < headBytes) return undefined
    const type = names[bytes.readUInt8(0)]
    const length = bytes.readUInt32BE(1)
    if (type === undefined || length > (type === 'data' ? maxDataBytes : maxShortBytes))
      throw new Error('this is no frame')
    if (type === 'data') {
      dataLeft = length
      return bytes.subarray(headBytes)
    }
    const end = headBytes + length
    if (bytes.length < end) return undefined
    take({ type, bytes: bytes.subarray(headBytes, end) })
    return bytes.subarray(end)
  }

  return (chunk) => {
    let rest = readData(pending.length === 0 ? chunk : Buffer.concat([pending, chunk]))
    while (dataLeft === 0) {
      const next = readFrame(rest)
      if (next === undefined) break
      rest = readData(next)
    }
    pending = rest
  }
}
