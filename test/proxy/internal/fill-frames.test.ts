import { expect, it } from 'vitest'
import {
  createFrameReader,
  type Frame,
  frameHead,
  readSize,
  sizeFrame,
} from '../../../proxy/internal/fill-frames.ts'

const data = Buffer.from('twelve bytes')
const stream = Buffer.concat([
  frameHead('beat', 0),
  sizeFrame(12),
  frameHead('data', data.length),
  data,
  frameHead('beat', 0),
  frameHead('end', 0),
])

function read(chunks: readonly Buffer[]): Frame[] {
  const frames: Frame[] = []
  const take = createFrameReader(({ type, bytes }) => frames.push({ type, bytes: Buffer.from(bytes) }))
  for (const chunk of chunks) take(chunk)
  return frames
}

it.each([1, 2, 3, 5, 7, 11, 64])('reads what comes in pieces of %i bytes', (length) => {
  const chunks = []
  for (let at = 0; at < stream.length; at += length) chunks.push(stream.subarray(at, at + length))
  const frames = read(chunks)
  const bytes = Buffer.concat(frames.filter(({ type }) => type === 'data').map((frame) => frame.bytes))
  expect(bytes.toString()).toBe('twelve bytes')
  expect(frames.map(({ type }) => type).filter((type) => type !== 'data')).toEqual([
    'beat',
    'size',
    'beat',
    'end',
  ])
  expect(readSize(frames.find(({ type }) => type === 'size')!.bytes)).toBe(12)
})

it('knows that a size is not known', () => {
  expect(readSize(read([sizeFrame(undefined)])[0]!.bytes)).toBeUndefined()
})

it.each([
  ['a type there is not', Buffer.from([9, 0, 0, 0, 0])],
  ['data without bounds', Buffer.from([2, 255, 255, 255, 255])],
  ['a long size', Buffer.from([1, 0, 0, 1, 0])],
])('throws for %s', (_name, bytes) => {
  expect(() => read([bytes])).toThrow()
})
