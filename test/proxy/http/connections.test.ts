import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { OciError } from '../../../proxy/oci/errors.ts'
import type { BlobBody } from '../../../proxy/pull/pull.ts'
import { UpstreamError } from '../../../proxy/upstream/errors.ts'
import { bodyOf, type Edge, putBlob, putManifest, startEdge } from './fixtures.ts'
import { openWire, request } from './wire.ts'

let edge: Edge
afterEach(async () => {
  await edge.close()
})

const manifestPath = '/v2/vr1/alpine/manifests/latest'
const get = (target: string) => `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`
const list = {
  mediaType: 'application/json',
  next: undefined,
  filtersApplied: undefined,
  warning: undefined,
}
const digest = `sha256:${'d'.repeat(64)}`

function putBody(body: BlobBody, size?: number): void {
  edge.pull.blobs.set(`alpine ${digest}`, () => ({ body, ...(size !== undefined && { size }) }))
}

describe('G116: slow connections', () => {
  it.each([
    ['sends nothing', ''],
    ['sends half a head', 'GET /v2/ HTTP/1.1\r\nHost:'],
    ['sends half a body', 'POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhello'],
  ])('are closed when a client %s', async (_name, text) => {
    edge = await startEdge({
      limits: {
        headersTimeoutMs: 300,
        requestTimeoutMs: 300,
        checkIntervalMs: 50,
        keepAliveTimeoutMs: 300,
        writeIdleTimeoutMs: 2000,
      },
    })
    const wire = await openWire(edge.port)
    wire.write(text)
    const startedAt = performance.now()
    await wire.end()
    expect(performance.now() - startedAt).toBeLessThan(3000)
  })

  it('are told when the head takes too long', async () => {
    edge = await startEdge({ limits: { headersTimeoutMs: 200, checkIntervalMs: 50 } })
    const wire = await openWire(edge.port)
    wire.write('GET /v2/ HTTP/1.1\r\nHost:')
    const answer = await wire.next()
    expect(answer?.status).toBe(408)
    expect(JSON.parse(answer!.body.toString()).errors).toHaveLength(1)
  })

  it('client C5: idle ones are closed by the keep-alive timeout', async () => {
    edge = await startEdge({ limits: { keepAliveTimeoutMs: 100 } })
    const wire = await openWire(edge.port)
    wire.write(get('/v2/'))
    expect((await wire.next())?.status).toBe(200)
    expect(await wire.end()).toBe('')
  })
})

describe('client C2: a slow reader', () => {
  it('gets every byte and costs one buffer', async () => {
    edge = await startEdge()
    const bytes = randomBytes(24 * 1024 * 1024)
    let furthest = 0
    const body = bodyOf(bytes)
    putBody(
      {
        ...body,
        read(buffer, position) {
          furthest = position
          return body.read(buffer, position)
        },
      },
      bytes.length,
    )
    const wire = await openWire(edge.port)
    wire.socket.pause()
    wire.write(get(`/v2/vr1/alpine/blobs/${digest}`))
    await sleep(300)
    // what the kernel holds, and one buffer
    expect(furthest).toBeLessThan(16 * 1024 * 1024)
    wire.socket.resume()
    expect((await wire.next())?.body.equals(bytes)).toBe(true)
  })

  it('client C3: one that takes nothing at all is cut, and its body closed', async () => {
    edge = await startEdge({ limits: { writeIdleTimeoutMs: 200 } })
    const { digest, bodies } = putBlob(edge.pull, 'alpine', randomBytes(32 * 1024 * 1024))
    const wire = await openWire(edge.port)
    wire.socket.pause()
    wire.write(get(`/v2/vr1/alpine/blobs/${digest}`))
    await expect.poll(() => bodies[0]?.closed, { timeout: 5000 }).toBe(true)
    expect(edge.lines().at(-1)).toMatchObject({ outcome: 'aborted', status: 200 })
  })

  it('T14: lists that nobody takes cost no more than they may', async () => {
    edge = await startEdge({ limits: { listBytes: 40 * 1024 * 1024 } })
    const body = Buffer.alloc(32 * 1024 * 1024, ' ')
    edge.pull.list = () => ({ ...list, body })
    const wire = await openWire(edge.port)
    wire.write(get('/v2/vr1/alpine/tags/list'))
    wire.socket.pause()
    const ask = () => request(edge.port, '/v2/vr1/alpine/tags/list')
    await expect.poll(async () => (await ask()).status).toBe(429)
    expect((await ask()).headers['retry-after']).toBe('1')
    expect((await request(edge.port, '/v2/vr1/alpine/tags/list', { method: 'HEAD' })).status).toBe(200)
    wire.socket.destroy()
    await expect.poll(async () => (await ask()).status).toBe(200)
  })

  it('is not cut while it is we who have nothing to send', async () => {
    edge = await startEdge({ limits: { writeIdleTimeoutMs: 100 } })
    const { bytes } = putManifest(edge.pull, 'alpine', 'latest')
    edge.pull.before = () => sleep(500)
    expect((await request(edge.port, manifestPath)).body).toEqual(bytes)
  })
})

describe('client C1: a client that leaves', () => {
  it('closes its body at once, also while a read is pending', async () => {
    edge = await startEdge()
    let closed = false
    let release = () => {}
    putBody(
      {
        size: 1000,
        bytes: undefined,
        read: (buffer, position) =>
          position === 0
            ? Promise.resolve(buffer.fill(1, 0, 10) && 10)
            : new Promise((_, reject) => {
                release = () => reject(new Error('closed'))
              }),
        close() {
          closed = true
          release()
        },
      },
      1000,
    )
    const wire = await openWire(edge.port)
    wire.write(get(`/v2/vr1/alpine/blobs/${digest}`))
    await expect.poll(() => wire.received()).toBeGreaterThan(10)
    wire.socket.destroy()
    await expect.poll(() => closed).toBe(true)
    await expect.poll(() => edge.lines().at(-1)).toMatchObject({ outcome: 'aborted', bytes: 10 })
    expect(edge.lines().filter(({ level }) => Number(level) >= 40)).toEqual([])
  })

  it('has nothing pulled for it that it asked for behind the first', async () => {
    edge = await startEdge()
    const { digest, bodies } = putBlob(edge.pull, 'alpine')
    edge.pull.before = () => sleep(200)
    const wire = await openWire(edge.port)
    wire.write(get(`/v2/vr1/alpine/blobs/${digest}`).repeat(3))
    await sleep(50)
    wire.socket.destroy()
    await sleep(500)
    expect(bodies.map(({ closed }) => closed)).toEqual([true])
    expect(edge.pull.requests).toHaveLength(1)
  })

  it('closes the body of a pull that answers after it left', async () => {
    edge = await startEdge()
    const { digest, bodies } = putBlob(edge.pull, 'alpine')
    edge.pull.before = () => sleep(200)
    const wire = await openWire(edge.port)
    wire.write(get(`/v2/vr1/alpine/blobs/${digest}`))
    await sleep(50)
    wire.socket.destroy()
    await expect.poll(() => bodies[0]?.closed).toBe(true)
  })
})

describe('a body that fails', () => {
  const failing = (after: number, error: unknown): BlobBody => ({
    size: 1000,
    bytes: undefined,
    read: async (buffer, position) => {
      if (position >= after) throw error
      return buffer.fill(1, 0, after).length > 0 ? after : 0
    },
    close() {},
  })

  it.each([
    ['of known size', 1000],
    ['of unknown size', undefined],
  ])('cuts the connection of a blob %s, and says so', async (_name, size) => {
    edge = await startEdge()
    putBody(failing(500, new UpstreamError('unavailable', 'cut')), size)
    const wire = await openWire(edge.port)
    wire.write(get(`/v2/vr1/alpine/blobs/${digest}`))
    const text = await wire.end()
    expect(text).toMatch(/^HTTP\/1.1 200/)
    expect(text.endsWith('0\r\n\r\n')).toBe(false)
    expect(edge.lines().at(-1)).toMatchObject({ level: 40, outcome: 'cut', bytes: 500 })
  })

  it('resets the connection of an HTTP/1.0 client, for which a plain close would be the end of the blob', async () => {
    edge = await startEdge()
    putBody(failing(500, new Error('cut')))
    const wire = await openWire(edge.port)
    const failure = new Promise<NodeJS.ErrnoException>((resolve) => wire.socket.once('error', resolve))
    wire.write(`GET /v2/vr1/alpine/blobs/${digest} HTTP/1.0\r\n\r\n`)
    expect((await failure).code).toBe('ECONNRESET')
  })

  it.each([
    [new OciError('UPSTREAM_INVALID'), 502],
    [new UpstreamError('unavailable', 'refused'), 503],
    [new UpstreamError('invalid-response', 'other bytes'), 502],
    [new Error('a mistake'), 500],
  ])('before its first byte is answered: %s', async (error, status) => {
    edge = await startEdge()
    putBody(failing(0, error), 1000)
    const answer = await request(edge.port, `/v2/vr1/alpine/blobs/${digest}`)
    expect(answer.status).toBe(status)
    expect(JSON.parse(answer.body.toString()).errors[0].message).not.toMatch(/mistake|refused|bytes/)
  })

  it('that ends too soon, or not in time, is cut', async () => {
    for (const [size, given] of [
      [1000, 500],
      [0, 500],
    ] as const) {
      edge = await startEdge()
      putBody(bodyOf(Buffer.alloc(given)), size)
      const wire = await openWire(edge.port)
      wire.write(get(`/v2/vr1/alpine/blobs/${digest}`))
      const answer = await wire.next()
      expect(answer === undefined || answer.status === 500).toBe(true)
      await edge.close()
    }
    edge = await startEdge()
  })
})

describe('bodies', () => {
  it.each([
    [0, true],
    [0, false],
    [1, true],
    [3 * 1024 * 1024 + 17, true],
    [3 * 1024 * 1024 + 17, false],
  ])('of %i bytes arrive whole (size known: %s)', async (length, sized) => {
    edge = await startEdge()
    const { digest, bytes, bodies } = putBlob(edge.pull, 'alpine', randomBytes(length), { sized })
    const answer = await request(edge.port, `/v2/vr1/alpine/blobs/${digest}`)
    expect(answer.body.equals(bytes)).toBe(true)
    expect(answer.headers[sized ? 'content-length' : 'transfer-encoding']).toBe(
      sized ? String(length) : 'chunked',
    )
    expect(bodies[0]?.closed).toBe(true)
  })

  it('from memory arrive whole and in parts', async () => {
    edge = await startEdge()
    const { digest, bytes } = putBlob(edge.pull, 'alpine', randomBytes(5000), { inMemory: true })
    const target = `/v2/vr1/alpine/blobs/${digest}`
    expect((await request(edge.port, target)).body.equals(bytes)).toBe(true)
    const part = await request(edge.port, target, { headers: { Range: 'bytes=100-199' } })
    expect(part).toMatchObject({ status: 206, body: bytes.subarray(100, 200) })
  })

  it('client C6: a HEAD has the same head and no body, and the connection goes on', async () => {
    edge = await startEdge()
    const { digest } = putBlob(edge.pull, 'alpine')
    const target = `/v2/vr1/alpine/blobs/${digest}`
    const whole = await request(edge.port, target)
    const wire = await openWire(edge.port)
    wire.write(`HEAD ${target} HTTP/1.1\r\nHost: x\r\n\r\n`)
    const head = await wire.next(true)
    expect({ ...head?.headers, date: '' }).toEqual({ ...whole.headers, date: '' })
    wire.write(get('/v2/'))
    expect((await wire.next())?.body.toString()).toBe('{}')
  })
})

describe('garbage behind a request that is being answered', () => {
  it('is never answered in its place', async () => {
    edge = await startEdge()
    putManifest(edge.pull, 'alpine', 'latest')
    edge.pull.before = () => sleep(200)
    const wire = await openWire(edge.port)
    wire.write(get(manifestPath))
    await sleep(50)
    wire.write('\u0000garbage\r\n\r\n')
    expect(await wire.end()).toBe('')
  })
})

describe('P12: an exception in one request', () => {
  it('is an internal error for that one, with its stack in the log', async () => {
    edge = await startEdge()
    const { bytes } = putManifest(edge.pull, 'alpine', 'latest')
    edge.pull.before = () => {
      throw new TypeError('a mistake of ours')
    }
    const answer = await request(edge.port, manifestPath)
    expect(answer.status).toBe(500)
    expect(JSON.parse(answer.body.toString())).toEqual({
      errors: [{ code: 'UNKNOWN', message: 'internal error' }],
    })
    expect(edge.lines().at(-1)).toMatchObject({
      level: 50,
      outcome: 'error',
      err: { message: 'a mistake of ours', stack: expect.any(String) },
    })
    edge.pull.before = () => {}
    expect((await request(edge.port, manifestPath)).body).toEqual(bytes)
  })
})

describe('draining', () => {
  it('P3: lets what runs finish, makes each answer the last of its connection, and takes no new one', async () => {
    edge = await startEdge()
    const { bytes } = putManifest(edge.pull, 'alpine', 'latest')
    const idle = await openWire(edge.port)
    idle.write(get('/v2/'))
    expect((await idle.next())?.headers.connection).toBe('keep-alive')
    edge.app.startDraining()
    idle.write(get('/v2/'))
    const last = await idle.next()
    expect(last).toMatchObject({ status: 200 })
    expect(last?.headers.connection).toBe('close')

    edge.pull.before = () => sleep(300)
    const running = await openWire(edge.port)
    running.write(get(manifestPath))
    await sleep(50)
    const drained = edge.app.drain(5000)
    await sleep(50)
    await expect(request(edge.port, '/v2/')).rejects.toThrow()
    expect((await running.next())?.body).toEqual(bytes)
    expect(await drained).toBe(true)
  })

  it('P4: cuts an endless client at the deadline', async () => {
    edge = await startEdge()
    const { digest, bodies } = putBlob(edge.pull, 'alpine', randomBytes(32 * 1024 * 1024))
    const wire = await openWire(edge.port)
    wire.socket.pause()
    wire.write(get(`/v2/vr1/alpine/blobs/${digest}`))
    await expect.poll(() => bodies.length).toBe(1)
    const startedAt = performance.now()
    expect(await edge.app.drain(200)).toBe(false)
    expect(performance.now() - startedAt).toBeLessThan(2000)
    await expect.poll(() => bodies[0]?.closed).toBe(true)
  })

  it('P5: may be asked for twice', async () => {
    edge = await startEdge()
    expect(await Promise.all([edge.app.drain(100), edge.app.drain(100)])).toEqual([true, true])
  })
})
