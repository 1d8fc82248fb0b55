import { describe, expect, it } from 'vitest'
import { createMemoryBody, createStoredBody } from '../../../proxy/pull/stored-body.ts'
import { gate } from './fill-rig.ts'

describe('a stored body', () => {
  it('closes the blob once, when its last read has ended', async () => {
    const reading = gate()
    let closed = 0
    const body = createStoredBody({
      size: 3,
      read: (buffer) => reading.opened.then(() => buffer.length),
      async close() {
        closed++
      },
    })
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
    createStoredBody({ size: 0, read: () => Promise.resolve(0), close }).close()
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
