import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createRouteTable } from '../../../proxy/route-table.ts'
import { type Edge, putBlob, putManifest, registry, startEdge, tableOf } from './fixtures.ts'
import { openWire, request } from './wire.ts'

let edge: Edge
let current: boolean
let uses: number
const lease = { current: () => current, use: () => void uses++ }

beforeEach(async () => {
  edge = await startEdge()
  current = true
  uses = 0
})
afterEach(async () => {
  await edge.close()
})

const path = '/v2/vr1/alpine/manifests/latest'
const withoutDate = ({ date: _, ...headers }: Record<string, string>) => headers

describe('an answer with a lease', () => {
  it('is given again as it was, without a pull, for as long as the lease is current', async () => {
    const { bytes } = putManifest(edge.pull, 'alpine', 'latest', { lease })
    const first = await request(edge.port, path)
    const second = await request(edge.port, path)
    expect(second).toMatchObject({ status: 200, body: bytes })
    expect(withoutDate(second.headers)).toEqual(withoutDate(first.headers))
    expect({ pulls: edge.pull.requests.length, uses }).toEqual({ pulls: 1, uses: 1 })

    current = false
    await request(edge.port, path)
    expect({ pulls: edge.pull.requests.length, uses }).toEqual({ pulls: 2, uses: 1 })
  })

  it.each([
    ['an older manifest of many bytes', Buffer.from('{"name":"åäö — 漢字"}')],
    ['bytes that are no text', Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))],
    ['a long manifest', randomBytes(100_000)],
    ['an empty one', Buffer.alloc(0)],
  ])('keeps every byte of %s', async (_name, bytes) => {
    putManifest(edge.pull, 'alpine', 'latest', { bytes, lease })
    for (let round = 0; round < 3; round++)
      expect((await request(edge.port, path)).body.equals(bytes)).toBe(true)
    expect(edge.pull.requests).toHaveLength(1)
  })

  it('is kept for HEAD apart, since the two count as different uses', async () => {
    putManifest(edge.pull, 'alpine', 'latest', { lease })
    const got = await request(edge.port, path)
    for (let round = 0; round < 2; round++) {
      const head = await request(edge.port, path, { method: 'HEAD' })
      expect(head).toMatchObject({ status: 200, body: Buffer.alloc(0) })
      expect(withoutDate(head.headers)).toEqual(withoutDate(got.headers))
    }
    expect(edge.pull.requests.map(({ request }) => request.method)).toEqual(['GET', 'HEAD'])
  })

  it('may be a blob in memory', async () => {
    const { digest, bytes } = putBlob(edge.pull, 'alpine', randomBytes(1024 * 1024), {
      inMemory: true,
      lease,
    })
    for (let round = 0; round < 2; round++) {
      expect((await request(edge.port, `/v2/vr1/alpine/blobs/${digest}`)).body.equals(bytes)).toBe(true)
    }
    expect(edge.pull.requests).toHaveLength(1)
  })

  it('is one answer of many on a connection', async () => {
    const { bytes } = putManifest(edge.pull, 'alpine', 'latest', { lease })
    const other = putManifest(edge.pull, 'alpine', 'other')
    const wire = await openWire(edge.port)
    for (const order of ['latest', 'latest', 'other', 'latest', 'other', 'other', 'latest']) {
      wire.write(`GET /v2/vr1/alpine/manifests/${order} HTTP/1.1\r\nHost: x\r\n\r\n`)
    }
    for (const expected of [bytes, bytes, other.bytes, bytes, other.bytes, other.bytes, bytes]) {
      expect((await wire.next())?.body).toEqual(expected)
    }
    wire.socket.destroy()
  })

  it('is given to a client that sends many requests at once as it takes the answers', async () => {
    putManifest(edge.pull, 'alpine', 'latest', { bytes: randomBytes(200_000), lease })
    await request(edge.port, path)
    const wire = await openWire(edge.port)
    wire.socket.pause()
    wire.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(500))
    await expect.poll(() => uses).toBeGreaterThan(0)
    await sleep(500)
    expect(uses).toBeLessThan(250)
    wire.socket.resume()
    for (let count = 0; count < 500; count++) expect((await wire.next())?.body.length).toBe(200_000)
    wire.socket.destroy()
  })

  it.each([
    ['Range', 'bytes=0-0'],
    ['If-None-Match', '"x"'],
    ['Content-Length', '0'],
  ])('is not given to a request with %s', async (name, value) => {
    putManifest(edge.pull, 'alpine', 'latest', { lease })
    await request(edge.port, path)
    await request(edge.port, path, { headers: { [name]: value } })
    expect(edge.pull.requests).toHaveLength(2)
  })

  it('is forgotten when the routes change, so that rights end at once', async () => {
    putManifest(edge.pull, 'alpine', 'latest', { lease })
    await request(edge.port, path)
    edge.setTable(tableOf())
    await request(edge.port, path)
    expect(edge.pull.requests).toHaveLength(2)
  })

  it('is not kept when the routes changed while it was made', async () => {
    putManifest(edge.pull, 'alpine', 'latest', { lease })
    edge.pull.before = async () => {
      edge.setTable(
        createRouteTable({ upstreams: [], registries: [registry('vr1', { access: { rules: [] } })] }),
      )
      await request(edge.port, '/v2/')
    }
    expect((await request(edge.port, path)).status).toBe(200)
    expect((await request(edge.port, path)).status).toBe(404)
  })

  it('is one host’s own where hosts are claimed', async () => {
    putManifest(edge.pull, 'vr1/alpine', 'latest', { lease })
    putManifest(edge.pull, 'alpine', 'latest', { lease })
    const byPath = await request(edge.port, path, { host: 'elsewhere.example' })
    const byHost = await request(edge.port, path, { host: 'VR.example:5000' })
    expect(byPath.status).toBe(200)
    expect(byHost.status).toBe(200)
    expect(edge.pull.requests.map(({ request }) => request.registry.key)).toEqual(['team/vr1', 'team/hosted'])
    await request(edge.port, path, { host: 'vr.example' })
    await request(edge.port, path, { host: 'elsewhere.example' })
    await request(edge.port, path, { host: 'anything.example' })
    expect(edge.pull.requests).toHaveLength(2)
  })

  it('is not kept under a query that changes nothing, and kept under ns with its header', async () => {
    putManifest(edge.pull, 'alpine', 'latest', { lease })
    for (let round = 0; round < 2; round++) await request(edge.port, `${path}?x=1`)
    expect(edge.pull.requests).toHaveLength(2)
    for (let round = 0; round < 2; round++) {
      expect((await request(edge.port, `${path}?ns=docker.io`)).headers['oci-namespace']).toBe('docker.io')
    }
    expect(edge.pull.requests).toHaveLength(3)
  })

  it('is kept with its warning, and told as stale', async () => {
    putManifest(edge.pull, 'alpine', 'latest', { lease, warning: 'stale "for" hub\n' })
    for (let round = 0; round < 3; round++) {
      expect((await request(edge.port, path)).headers.warning).toBe('299 - "stale \\"for\\" hub?"')
    }
    expect(edge.pull.requests).toHaveLength(1)
    expect(edge.lines().map(({ level, outcome }) => ({ level, outcome }))).toEqual(
      Array.from({ length: 3 }, () => ({ level: 40, outcome: 'stale-served' })),
    )
    const counted = 'headwater_requests_total{registry="team/vr1",kind="manifest",outcome="stale-served"} 3'
    expect(await edge.metrics.scrape()).toContain(counted)
  })

  it('is logged and counted like any other', async () => {
    putManifest(edge.pull, 'alpine', 'latest', { lease })
    const userAgent = 'evil"\\ {"level":60}'
    for (let round = 0; round < 3; round++)
      await request(edge.port, path, { headers: { 'User-Agent': userAgent } })
    const lines = edge.lines()
    expect(lines).toHaveLength(3)
    const { time, requestId, durationMs, upstream, source, ...slow } = lines[0]!
    for (const line of lines.slice(1)) {
      expect(line).toMatchObject({
        ...slow,
        upstream: 'team/hub',
        source: 'memory',
        userAgent,
        client: '127.0.0.1',
      })
    }
    expect(new Set(lines.map((line) => line.requestId)).size).toBe(3)
    const text = await edge.metrics.scrape()
    expect(text).toContain('headwater_requests_total{registry="team/vr1",kind="manifest",outcome="hit"} 3')
    expect(text).toContain('headwater_request_duration_seconds_count{kind="manifest",outcome="hit"} 3')
  })
})

it('keeps no more answers, and no more bytes, than it may', async () => {
  await edge.close()
  edge = await startEdge({ limits: { hotEntries: 10, hotBytes: 20_000 } })
  const ask = async (tag: string) => request(edge.port, `/v2/vr1/alpine/manifests/${tag}`)
  for (let index = 0; index < 30; index++) {
    putManifest(edge.pull, 'alpine', `v${index}`, { lease })
    await ask(`v${index}`)
  }
  await ask('v29')
  expect(edge.pull.requests).toHaveLength(30)
  await ask('v0')
  expect(edge.pull.requests).toHaveLength(31)
  putManifest(edge.pull, 'alpine', 'large', { bytes: randomBytes(30_000), lease })
  await ask('large')
  await ask('large')
  expect(edge.pull.requests).toHaveLength(33)
})
