import { describe, expect, it } from 'vitest'
import type { BlobBody } from '../../../proxy/pull/pull.ts'
import { createBodyOr, createMemoryBody, createStoredBody } from '../../../proxy/pull/stored-body.ts'
import { SpoiledBlobError } from '../../../proxy/store/blob-store.ts'
import { gate } from './fill-rig.ts'

const done = () => Promise.resolve()

describe('a stored body', () => {
  it('closes the blob once, when its last read has ended', async () => {
    const reading = gate()
    let closed = 0
    const open = {
      size: 3,
      read: (buffer: Uint8Array) => reading.opened.then(() => buffer.length),
      discard: done,
      async close() {
        closed++
      },
    }
    const body = createStoredBody(open, done)
    expect(body.size).toBe(3)
    const pending = body.read(Buffer.alloc(3), 0)
    body.close()
    body.close()
    expect(closed).toBe(0)
    reading.open()
    expect(await pending).toBe(3)
    expect(closed).toBe(1)
    await expect(body.read(Buffer.alloc(3), 0)).rejects.toMatchObject({ name: 'BodyClosedError' })
  })

  it('is not troubled by a blob that cannot be closed', async () => {
    const close = () => Promise.reject(new Error('EIO'))
    createStoredBody({ size: 0, read: () => Promise.resolve(0), discard: done, close }, done).close()
  })

  it('tells what is spoiled before the read of it fails', async () => {
    const spoiled = new SpoiledBlobError('the blob cannot be read')
    const told: unknown[] = []
    const open = { size: 3, read: () => Promise.reject(spoiled), discard: done, close: done }
    const body = createStoredBody(open, async (error) => void told.push(error))
    await expect(body.read(Buffer.alloc(3), 0)).rejects.toBe(spoiled)
    expect(told).toEqual([spoiled])
  })
})

describe('a body with another instead', () => {
  const failing = (failsAt: number, closed: string[]): BlobBody => ({
    size: 6,
    bytes: undefined,
    async read(buffer, position) {
      if (position >= failsAt) throw new SpoiledBlobError('the blob cannot be read')
      return Buffer.from('abc').copy(buffer)
    },
    close: () => void closed.push('first'),
  })
  const second = () => Promise.resolve(createMemoryBody(Buffer.from('abcdef')))

  it('is the other where its first read fails, wherever that begins', async () => {
    const closed: string[] = []
    const body = createBodyOr(failing(0, closed), second)
    const buffer = Buffer.alloc(3)
    expect(await body.read(buffer, 3)).toBe(3)
    expect(String(buffer)).toBe('def')
    expect(await body.read(buffer, 6)).toBe(0)
    expect(closed).toEqual(['first'])
  })

  it('fails once it has given bytes', async () => {
    const body = createBodyOr(failing(3, []), second)
    expect(await body.read(Buffer.alloc(3), 0)).toBe(3)
    await expect(body.read(Buffer.alloc(3), 3)).rejects.toThrow(SpoiledBlobError)
  })

  it('closes the other too, when it was closed before that came', async () => {
    const closed: string[] = []
    const body = createBodyOr(failing(0, closed), async () => {
      body.close()
      return { ...(await second()), close: () => void closed.push('second') }
    })
    await body.read(Buffer.alloc(3), 0)
    expect(closed).toContain('second')
  })
})

describe('a body in memory', () => {
  it('is read by position too', async () => {
    const body = createMemoryBody(Buffer.from('hello'))
    const buffer = Buffer.alloc(3)
    expect(await body.read(buffer, 1)).toBe(3)
    expect(String(buffer)).toBe('ell')
    expect(await body.read(buffer, 4)).toBe(1)
    expect(await body.read(buffer, 5)).toBe(0)
    expect(await body.read(buffer, 9)).toBe(0)
    expect(String(body.bytes)).toBe('hello')
    body.close()
  })
})
