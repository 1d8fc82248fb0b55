import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { expect, it } from 'vitest'
import type { UpstreamClient } from '../../../proxy/upstream/client.ts'
import {
  afterThisTest,
  ask,
  createTold,
  credentials,
  reply,
  startClient,
  startDouble,
  startRaw,
  upstreamAt,
} from './doubles.ts'

const blob = { resource: `blobs/sha256:${'a'.repeat(64)}` }

async function open(client: UpstreamClient, url: string, more: object = {}): Promise<Readable> {
  const request = {
    upstream: upstreamAt(url),
    method: 'GET' as const,
    repository: 'team/app',
    ...blob,
    ...more,
  }
  const answer = await client.request(request)
  if (!answer.found) throw new Error('expected a yes')
  return answer.body
}

/** The error a body ends with, and what it brought before. */
async function drain(body: Readable): Promise<{ bytes: number; error: unknown }> {
  let bytes = 0
  try {
    for await (const chunk of body) bytes += (chunk as Buffer).length
    return { bytes, error: undefined }
  } catch (error) {
    return { bytes, error }
  }
}

it('U1: a refused connection is tried twice and is trouble', async () => {
  const told = createTold()
  const free = await freePort()
  await expect(
    ask(startClient({ observer: told }), upstreamAt(`http://127.0.0.1:${free}`)),
  ).rejects.toMatchObject({
    kind: 'unavailable',
  })
  expect(told.sent.map(({ status }) => status)).toEqual(['unavailable', 'unavailable'])
})

async function freePort(): Promise<number> {
  const { createServer } = await import('node:net')
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

it('U2: a connection that is never made ends with its limit, and opens no more sockets than allowed', async () => {
  const port = await startBlackhole()
  const client = startClient({ limits: { connectMs: 500, connections: 5 } })
  const started = performance.now()
  const asking = Array.from({ length: 5 }, () => ask(client, upstreamAt(`http://127.0.0.1:${port}`)))
  const outcomes = await Promise.allSettled(asking)
  expect(performance.now() - started).toBeLessThan(2_500)
  for (const outcome of outcomes)
    expect(outcome).toMatchObject({ status: 'rejected', reason: { kind: 'timeout' } })
})

/** A process that listens and never accepts: once its backlog is full the kernel drops every SYN. */
async function startBlackhole(): Promise<number> {
  const script = `
    const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
      require('node:fs').writeSync(1, String(server.address().port))
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    })`
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  afterThisTest(async () => {
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  const [chunk] = await once(child.stdout, 'data')
  const port = Number(chunk)
  const { connect } = await import('node:net')
  const fillers = Array.from({ length: 6 }, () => connect(port, '127.0.0.1').on('error', () => {}))
  afterThisTest(async () => {
    for (const socket of fillers) socket.destroy()
  })
  await sleep(100)
  return port
}

it('U2: two hundred requests wait for the connections there may be', async () => {
  const registry = await startDouble((_request, response) => void setTimeout(() => reply(response, 200), 5))
  const client = startClient({ limits: { connections: 7 } })
  await Promise.all(Array.from({ length: 200 }, () => ask(client, upstreamAt(registry.url))))
  expect(registry.connections()).toBeLessThanOrEqual(7)
})

it('U3: no answer within firstByteMs is a timeout', async () => {
  const registry = await startRaw(() => {})
  const started = performance.now()
  await expect(ask(startClient(), upstreamAt(registry.url), { firstByteMs: 200 })).rejects.toMatchObject({
    kind: 'timeout',
  })
  expect(performance.now() - started).toBeLessThan(1_000)
})

it('U3: no answer within the limit for heads is a timeout, and not tried again', async () => {
  const registry = await startRaw(() => {})
  const client = startClient({ limits: { headersMs: 200 } })
  await expect(ask(client, upstreamAt(registry.url))).rejects.toMatchObject({ kind: 'timeout' })
  expect(registry.heads).toHaveLength(1)
})

it('U3: a head without a first byte of the body is a timeout on the body', async () => {
  const registry = await startRaw((socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'))
  const body = await open(startClient(), registry.url, { firstByteMs: 200 })
  expect(await drain(body)).toMatchObject({ bytes: 0, error: { name: 'UpstreamError', kind: 'timeout' } })
})

it('a body that began in time may take longer than firstByteMs', async () => {
  const registry = await startRaw((socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello')
    setTimeout(() => socket.write('world'), 400)
  })
  expect(await drain(await open(startClient(), registry.url, { firstByteMs: 150 }))).toEqual({
    bytes: 10,
    error: undefined,
  })
})

it('U8: a body slower than the slowest allowed is a timeout', async () => {
  const registry = await startRaw((socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n')
    const timer = setInterval(() => socket.write('x'), 20)
    socket.on('close', () => clearInterval(timer))
  })
  const client = startClient({ limits: { slowest: { bytes: 1000, ms: 300 } } })
  const { bytes, error } = await drain(await open(client, registry.url))
  expect(error).toMatchObject({ kind: 'timeout' })
  expect(bytes).toBeGreaterThan(0)
})

it('U8: a reader may be as slow as it likes', async () => {
  const size = 3 * 1024 * 1024
  const registry = await startDouble((_request, response) => reply(response, 200, {}, 'x'.repeat(size)))
  const client = startClient({ limits: { slowest: { bytes: 1, ms: 150 }, idleMs: 300 } })
  const body = await open(client, registry.url)
  await sleep(1_000)
  expect(await drain(body)).toEqual({ bytes: size, error: undefined })
})

it('U9: a body that stalls is a timeout after the idle limit', async () => {
  const registry = await startRaw((socket) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello'),
  )
  const { bytes, error } = await drain(await open(startClient({ limits: { idleMs: 200 } }), registry.url))
  expect({ bytes, error }).toMatchObject({ bytes: 5, error: { name: 'UpstreamError', kind: 'timeout' } })
})

it.each([
  ['U10', 'Content-Length: 10', 'end'],
  ['U10', 'Content-Length: 10\r\nConnection: close', 'end'],
  ['U11', 'Content-Length: 10', 'reset'],
  ['U12', 'Transfer-Encoding: chunked', 'end'],
  ['U12', 'Transfer-Encoding: chunked\r\nConnection: close', 'end'],
  ['U12', 'Transfer-Encoding: chunked', 'reset'],
] as const)(
  '%s: a body with %j that is cut by %s ends with trouble, and the next pull works',
  async (_row, framing, how) => {
    const registry = await startRaw((socket) => {
      const whole = registry.heads.length > 1
      if (whole) return socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello')
      socket.write(
        `HTTP/1.1 200 OK\r\n${framing}\r\n\r\n${framing.startsWith('T') ? '5\r\nhello\r\n' : 'hello'}`,
      )
      setTimeout(() => (how === 'end' ? socket.end() : socket.resetAndDestroy()), 50)
      return undefined
    })
    const client = startClient()
    expect(await drain(await open(client, registry.url))).toMatchObject({
      error: { name: 'UpstreamError', kind: 'unavailable' },
    })
    expect(await drain(await open(client, registry.url))).toEqual({ bytes: 5, error: undefined })
  },
)

it('U13: a body is read at full speed however slow its reader is, up to what is buffered', async () => {
  const size = 200 * 1024
  let sent: Promise<unknown> = Promise.resolve()
  const registry = await startDouble((_request, response) => {
    sent = once(response, 'finish')
    reply(response, 200, {}, 'x'.repeat(size))
  })
  const told = createTold()
  const body = await open(startClient({ observer: told }), registry.url)
  await sent
  for (let wait = 0; told.bytes < size && wait < 100; wait++) await sleep(10)
  expect(told.bytes).toBe(size)
  expect(await drain(body)).toEqual({ bytes: size, error: undefined })
})

it('T16: an unread body does not grow without end', async () => {
  const registry = await startDouble((_request, response) => {
    response.writeHead(200)
    const more = () => {
      while (!response.destroyed && response.write(Buffer.alloc(65_536)));
      if (!response.destroyed) response.once('drain', more)
    }
    more()
  })
  const told = createTold()
  const body = await open(startClient({ observer: told }), registry.url)
  await sleep(300)
  expect(told.bytes).toBeLessThan(1024 * 1024)
  body.destroy()
})

it('U40: a kept connection that is closed as we send is replaced once', async () => {
  const registry = await startRaw((socket) => {
    const first = registry.connections() === 1
    if (first && registry.heads.length === 2) return socket.destroy()
    return socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  })
  const client = startClient()
  await ask(client, upstreamAt(registry.url))
  await sleep(20)
  expect(await ask(client, upstreamAt(registry.url))).toMatchObject({ found: true, text: 'ok' })
  expect(registry.heads).toHaveLength(3)
})

it('U40: a connection that is reset before every answer is trouble after two', async () => {
  const registry = await startRaw((socket) => socket.resetAndDestroy())
  await expect(ask(startClient(), upstreamAt(registry.url))).rejects.toMatchObject({ kind: 'unavailable' })
  expect(registry.heads).toHaveLength(2)
})

it.each([
  ['before it is sent', 0],
  ['while it waits', 100],
])('I5: gives a request up %s', async (_when, ms) => {
  const registry = await startRaw(() => {})
  const controller = new AbortController()
  setTimeout(() => controller.abort(), ms)
  if (ms === 0) controller.abort()
  const answer = ask(startClient(), upstreamAt(registry.url), { signal: controller.signal })
  await expect(answer).rejects.toMatchObject({ name: 'UpstreamError', kind: 'unavailable' })
})

it('I5: gives a body up, by signal or by destroying it, and closes its connection', async () => {
  let closed = 0
  const registry = await startRaw((socket) => {
    socket.on('close', () => closed++)
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello')
  })
  const client = startClient()
  const timeout = await drain(await open(client, registry.url, { signal: AbortSignal.timeout(100) }))
  expect(timeout).toMatchObject({ bytes: 5, error: { name: 'UpstreamError', kind: 'timeout' } })
  const controller = new AbortController()
  const body = await open(client, registry.url, { signal: controller.signal })
  setTimeout(() => controller.abort(), 50)
  expect(await drain(body)).toMatchObject({ error: { name: 'UpstreamError', kind: 'unavailable' } })
  const left = await open(client, registry.url)
  left.destroy()
  await expect.poll(() => closed).toBe(3)
})

it('I8: a request given up while it waited for a connection is never sent', async () => {
  const registry = await startDouble((_request, response) => void setTimeout(() => reply(response, 200), 200))
  const client = startClient({ limits: { connections: 1 } })
  const first = ask(client, upstreamAt(registry.url))
  await expect(ask(client, upstreamAt(registry.url), { firstByteMs: 50 })).rejects.toMatchObject({
    kind: 'timeout',
  })
  await first
  await ask(client, upstreamAt(registry.url))
  expect(registry.requests).toHaveLength(2)
})

it('I5: lets open bodies go on when an upstream is forgotten, and closes its connections after', async () => {
  let closed = 0
  const registry = await startRaw((socket) => {
    socket.on('close', () => closed++)
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello')
    setTimeout(() => socket.write('world'), 200)
  })
  const client = startClient()
  const body = await open(client, registry.url)
  client.retain([])
  expect(await drain(body)).toEqual({ bytes: 10, error: undefined })
  await expect.poll(() => closed, { timeout: 1_000 }).toBe(1)
  expect(await drain(await open(client, registry.url))).toMatchObject({ bytes: 10 })
  expect(registry.connections()).toBe(2)
})

it('I4: keeps every secret out of what it throws', async () => {
  const canaries = ['canary-password', 'canary-token', 'canary-query', 'canary-body', 'cm9ib3Q6']
  const token = '{"token":"canary-token"}'
  const faults: ((path: string) => string)[] = [
    () => 'HTTP/1.1 500 canary-body\r\nContent-Length: 11\r\n\r\ncanary-body',
    () => 'HTTP/1.1 200 OK canary-body\r\nContent-Length: 1x\r\n\r\ncanary-body',
    () => 'canary-body canary-token\r\n\r\n',
    () => 'HTTP/1.1 302 Found\r\nLocation: http://user:canary-password@x/\r\nContent-Length: 0\r\n\r\n',
    () => 'HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/?canary-query\r\nContent-Length: 0\r\n\r\n',
    () => 'HTTP/1.1 302 Found\r\nLocation: ftp://x/?canary-query\r\nContent-Length: 0\r\n\r\n',
    () => 'HTTP/1.1 206 Part\r\nContent-Length: 11\r\n\r\ncanary-body',
    () => 'HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n',
    () =>
      'HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm="https://evil.example/canary-query"\r\nContent-Length: 0\r\n\r\n',
  ]
  for (const fault of faults) {
    for (const inToken of [false, true]) {
      const registry = await startRaw((socket, head) => {
        if (head.includes('/token')) {
          return socket.write(
            inToken ? fault('/token') : `HTTP/1.1 200 OK\r\nContent-Length: ${token.length}\r\n\r\n${token}`,
          )
        }
        if (/authorization: bearer/i.test(head)) return socket.write(fault('/v2'))
        return socket.write(
          `HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm="${registry.url}/token"\r\nContent-Length: 0\r\n\r\n`,
        )
      })
      const upstream = upstreamAt(registry.url, { credentials })
      const error = await ask(startClient(), upstream, { firstByteMs: 1000 }).catch(
        (reason: unknown) => reason,
      )
      const shown = `${inspect(error, { depth: 10, showHidden: true })} ${JSON.stringify(error)}`
      for (const canary of canaries) expect(shown).not.toContain(canary)
    }
  }
})

it('bodies that are cut at once leave their places to others', async () => {
  let isCutting = true
  const registry = await startRaw((socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n')
    if (isCutting) socket.destroy()
    else socket.write('ok')
  })
  const client = startClient({ limits: { connections: 1 } })
  for (let round = 0; round < 20; round++) await open(client, registry.url).then(drain, () => {})
  isCutting = false
  expect(await drain(await open(client, registry.url, { firstByteMs: 1_000 }))).toMatchObject({ bytes: 2 })
})

it('questions do not wait for blobs, of which so many are under way at a time', async () => {
  const registry = await startRaw((socket, head) => {
    if (head.includes('/blobs/')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello')
    else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  })
  const client = startClient({ limits: { connections: 2 } })
  const bodies = [await open(client, registry.url), await open(client, registry.url)]
  expect(await ask(client, upstreamAt(registry.url), { firstByteMs: 1_000 })).toMatchObject({ text: 'ok' })
  await expect(open(client, registry.url, { firstByteMs: 100 })).rejects.toMatchObject({
    kind: 'blocked',
    message: 'default/hub: 2 blobs of it are under way already',
  })
  const waiting = open(client, registry.url)
  bodies[0]!.destroy()
  bodies.push(await waiting)
  expect(registry.heads.filter((head) => head.includes('/blobs/'))).toHaveLength(3)
  for (const body of bodies) body.destroy()
})
