import { randomBytes } from 'node:crypto'
import { createServer, type RequestListener } from 'node:http'
import { connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { expect, it, onTestFinished } from 'vitest'
import { createInternal } from '../../../proxy/http/internal.ts'
import { serveFills } from '../../../proxy/http/internal-fills.ts'
import { createClusterAuth } from '../../../proxy/internal/cluster-auth.ts'
import { createPeers, fillPath } from '../../../proxy/internal/peers.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import type { Fill } from '../../../proxy/pull/fill.ts'
import type { BlobBody } from '../../../proxy/pull/pull.ts'

const auth = createClusterAuth(['k'.repeat(32)])
const peers = createPeers({ auth, now: Date.now, url: () => undefined })
const blob = randomBytes(3_000_000)
const digest = digestOf(blob, 'sha256')
const never = new AbortController().signal

/** All of the blob but what lies behind `until`: there it ends as `ending` says. */
function fillOf(until: number, ending: 'end' | 'fail' | 'hang'): Fill {
  const body: BlobBody = {
    size: blob.length,
    bytes: undefined,
    async read(into, position) {
      if (position < until) return blob.copy(into, 0, position, until)
      if (ending === 'fail') throw new Error('the source was cut')
      return ending === 'end' ? 0 : new Promise<number>(() => {})
    },
    close() {},
  }
  return { size: blob.length, done: Promise.resolve(true), openBody: () => body, openSharedBody: () => body }
}

async function replica(fill: Fill | undefined, idleTimeoutMs?: number): Promise<string> {
  const app = createInternal({ auth, now: Date.now, ...(idleTimeoutMs && { idleTimeoutMs }) })
  serveFills(app, { auth, now: Date.now, brought: async () => fill })
  onTestFinished(() => app.close())
  return app.listen({ host: '127.0.0.1', port: 0 })
}

async function stranger(answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1')
  onTestFinished(async () => {
    server.closeAllConnections()
    server.close()
  })
  await new Promise((resolve) => server.once('listening', resolve))
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`
}

const open = (url: string, start = 0) => peers.open(url, { origin: 'o/1', digest }, start, never)

it.each([0, 1, 1_000_000, 2_999_999])('gives a fill from byte %i on', async (start) => {
  const opened = await open(await replica(fillOf(blob.length, 'end')), start)
  expect(opened).toMatchObject({ start, size: blob.length })
  expect((await buffer(opened.body)).equals(blob.subarray(start))).toBe(true)
})

it('is no longer under the limit that there was for opening it', async () => {
  const opening = new AbortController()
  const url = await replica(fillOf(blob.length, 'end'))
  const { body } = await peers.open(url, { origin: 'o/1', digest }, 0, opening.signal)
  opening.abort()
  expect((await buffer(body)).equals(blob)).toBe(true)
})

it('is given up while it is being opened', async () => {
  const url = await stranger(() => {})
  const asked = peers.open(url, { origin: 'o/1', digest }, 0, AbortSignal.timeout(50))
  await expect(asked).rejects.toMatchObject({
    name: 'UpstreamError',
    message: expect.stringContaining('too long'),
  })
})

it('tells a cut from an end', async () => {
  const { body } = await open(await replica(fillOf(1_500_000, 'fail')))
  await expect(buffer(body)).rejects.toMatchObject({ kind: 'unavailable' })
})

it('waits for one that has nothing new to send but is there', async () => {
  const { body } = await open(await replica(fillOf(1_500_000, 'hang')))
  const reading = buffer(body).catch((error: unknown) => error)
  const first = await Promise.race([reading, new Promise((resolve) => setTimeout(resolve, 2_500, 'waits'))])
  expect(first).toBe('waits')
  body.destroy()
})

it('is cut where there is no such fill', async () => {
  await expect(open(await replica(undefined))).rejects.toMatchObject({ kind: 'unavailable' })
})

it('gives up one that says nothing for a second', async () => {
  const started = performance.now()
  await expect(open(await stranger(() => {}))).rejects.toMatchObject({ kind: 'timeout' })
  expect(performance.now() - started).toBeLessThan(2_000)
})

it.each<[string, RequestListener]>([
  ['has no signature', (_request, response) => void response.writeHead(200).end('bytes')],
  [
    'gives our own back',
    (request, response) =>
      void response
        .writeHead(200, { 'headwater-signature': request.headers.authorization ?? '' })
        .end('bytes'),
  ],
  [
    'leads elsewhere',
    (_request, response) => void response.writeHead(302, { location: 'http://169.254.169.254/' }).end(),
  ],
])('believes nobody who %s', async (_name, answer) => {
  await expect(open(await stranger(answer))).rejects.toMatchObject({ kind: 'unavailable' })
})

it.each(['nonsense', 'file:///etc/passwd', 'http://user:word@127.0.0.1:1/', 'http://127.0.0.1:1/path?x'])(
  'asks nothing at %s',
  async (url) => {
    await expect(open(url)).rejects.toMatchObject({ kind: 'unavailable' })
  },
)

it.each([
  ['key', createClusterAuth(['other'.repeat(8)]), Date.now],
  ['time', auth, () => Date.now() - 90_000],
])('says that it may be the %s when another replica refuses it', async (_, auth, now) => {
  const stranger = createPeers({ auth, now, url: () => undefined })
  const asked = stranger.open(await replica(undefined), { origin: 'o/1', digest }, 0, never)
  await expect(asked).rejects.toThrow('does not know our cluster key, or has another time')
})

it('lets go of a fill for one who takes nothing of it', async () => {
  let isClosed = false
  const endless = {
    ...fillOf(0, 'end').openSharedBody(),
    read: async (into: Uint8Array) => into.length,
    close: () => {
      isClosed = true
    },
  }
  const url = new URL(await replica({ ...fillOf(0, 'end'), openSharedBody: () => endless }, 300))
  const path = fillPath('o', digest)
  const socket = connect(Number(url.port), url.hostname)
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => {}).pause()
  socket.write(
    `GET ${path} HTTP/1.1\r\nhost: a\r\nauthorization: ${auth.sign('GET', path, Date.now())}\r\n\r\n`,
  )
  await expect.poll(() => isClosed).toBe(true)
})

it('says nothing to who has no key', async () => {
  const answer = await fetch(`${await replica(fillOf(blob.length, 'end'))}${fillPath('o', digest)}`)
  expect([answer.status, await answer.text()]).toEqual([401, ''])
})
