import { get } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { createFakeUpstream, type FakeUpstream, fault } from './fake-upstream.ts'
import { randomSource, sourceBytes, sourceDigest } from './source.ts'

const upstreams: FakeUpstream[] = []
afterEach(async () => {
  await Promise.all(upstreams.splice(0).map((upstream) => upstream.close()))
})

async function upstreamWith(
  text: string,
  options: Parameters<typeof createFakeUpstream>[0] = {},
): Promise<{ upstream: FakeUpstream; blob: string }> {
  const upstream = await createFakeUpstream(options)
  upstreams.push(upstream)
  const layer = upstream.content.putBlob('a', text)
  upstream.content.putManifest('a', { schemaVersion: 2, layers: [layer] }, { tag: 'latest' })
  return { upstream, blob: `/v2/a/blobs/${layer.digest}` }
}

const outcomeOf = async (promise: Promise<Response>): Promise<string> => {
  try {
    const response = await promise
    return `${response.status} ${await response.text()}`
  } catch {
    return 'broken'
  }
}

describe('the fake upstream', () => {
  it('answers as the specification says', async () => {
    const { upstream, blob } = await upstreamWith('hello')
    const manifest = await fetch(`${upstream.url}/v2/a/manifests/latest`)
    const digest = manifest.headers.get('docker-content-digest')
    expect(digest).toBe(digestOf(Buffer.from(await manifest.arrayBuffer())))
    expect((await fetch(`${upstream.url}/v2/a/manifests/${digest}`, { method: 'HEAD' })).status).toBe(200)
    expect(await (await fetch(upstream.url + blob)).text()).toBe('hello')
    const part = await fetch(upstream.url + blob, { headers: { range: 'bytes=1-2' } })
    expect([part.status, part.headers.get('content-range'), await part.text()]).toEqual([
      206,
      'bytes 1-2/5',
      'el',
    ])
    expect((await fetch(upstream.url + blob, { headers: { range: 'bytes=9-' } })).status).toBe(416)
    expect(await (await fetch(`${upstream.url}/v2/a/tags/list`)).json()).toEqual({
      name: 'a',
      tags: ['latest'],
    })
    expect((await fetch(`${upstream.url}/v2/b/tags/list`)).status).toBe(404)
    expect(upstream.requests({ method: 'HEAD' })).toHaveLength(1)
    expect(upstream.requests({ path: '/v2/a/blobs/*' })).toHaveLength(3)
  })

  it('lists referrers by their subject, sha512 too', async () => {
    const { upstream } = await upstreamWith('hello')
    const subject = upstream.content.putManifest('a', { schemaVersion: 2 }, { algorithm: 'sha512' })
    upstream.content.putManifest('a', { schemaVersion: 2, artifactType: 'application/x', subject })
    upstream.content.putManifest('a', { schemaVersion: 2, artifactType: 'application/y', subject })
    const url = `${upstream.url}/v2/a/referrers/${subject.digest}`
    expect(((await (await fetch(url)).json()) as { manifests: unknown[] }).manifests).toHaveLength(2)
    const one = await fetch(`${url}?artifactType=application/x`)
    expect(one.headers.get('oci-filters-applied')).toBe('artifactType')
    expect(await one.json()).toMatchObject({ manifests: [{ artifactType: 'application/x' }] })
  })

  it.each([
    ['a status', fault.status(503), /^503 .*UNKNOWN/],
    ['no fault', fault.none(), /^200 hello$/],
    ['a cut by FIN', fault.cut(2), /broken/],
    ['a cut by RST', fault.cut(2, 'rst'), /broken/],
    ['a cut before the first byte', fault.cut(0), /broken/],
    ['a reset', fault.reset(), /broken/],
    ['a turned byte', fault.corrupt(-1), /^200 hell[^o]/],
    ['no length', fault.withoutLength(), /^200 hello$/],
    ['HTTP/1.0', fault.http10(), /^200 hello$/],
    ['chunks', fault.chunked(), /^200 hello$/],
    ['chunks without their end', fault.chunkedWithoutEnd(), /broken/],
    ['other bytes', fault.body('<html>', 'text/html'), /^200 <html>$/],
    [
      'a length that is too long',
      fault.all(fault.headers({ 'content-length': '9' }), fault.cut(5)),
      /broken/,
    ],
    ['compression', fault.gzip(), /^200 hello$/],
    ['429', fault.tooManyRequests('7'), /^429 .*TOOMANYREQUESTS/],
    ['raw bytes', fault.raw('HTTP/1.1 299 Odd\r\ncontent-length: 2\r\n\r\nok'), /^299 ok$/],
    ['nonsense', fault.raw('SSH-2.0-nonsense\r\n'), /broken/],
  ])('gives %s once, then a good answer', async (_name, one, expected) => {
    const { upstream, blob } = await upstreamWith('hello')
    upstream.next('GET', blob, one)
    expect(await outcomeOf(fetch(upstream.url + blob))).toMatch(expected)
    expect(await outcomeOf(fetch(upstream.url + blob))).toBe('200 hello')
  })

  it('stalls, hangs and is healed', async () => {
    const { upstream, blob } = await upstreamWith('hello')
    upstream.always('GET', '/v2/a/blobs/*', fault.stall(2))
    upstream.always('GET', '/v2/a/manifests/*', fault.hang())
    const stalled = outcomeOf(fetch(upstream.url + blob))
    const hanging = outcomeOf(fetch(`${upstream.url}/v2/a/manifests/latest`))
    await expect
      .poll(() => upstream.requests({ path: blob })[0])
      .toMatchObject({ outcome: 'stalled', bodyBytesSent: 2 })
    await upstream.heal()
    expect(await Promise.all([stalled, hanging])).toEqual(['broken', 'broken'])
    expect(await outcomeOf(fetch(upstream.url + blob))).toBe('200 hello')
  })

  it('refuses connections when stopped and comes back on the same port', async () => {
    const { upstream, blob } = await upstreamWith('hello')
    const { url } = upstream
    await upstream.stop()
    expect(await outcomeOf(fetch(url + blob))).toBe('broken')
    await upstream.heal()
    expect(await outcomeOf(fetch(url + blob))).toBe('200 hello')
  })

  it('has an endless body that a reader can leave', async () => {
    const { upstream, blob } = await upstreamWith('hello')
    upstream.next('GET', blob, fault.endless())
    const reader = (await fetch(upstream.url + blob)).body!.getReader()
    for (let seen = 0; seen < 5_000_000; ) seen += (await reader.read()).value!.length
    await reader.cancel()
    await expect.poll(() => upstream.requests()[0]!.outcome).toBe('gone')
  })

  it('cuts at a multiple where the reader pauses, and is patient otherwise', async () => {
    const { upstream } = await upstreamWith('')
    const size = 64 * 1024 * 1024
    const { digest } = upstream.content.putBlob('a', Buffer.alloc(size))
    upstream.always('GET', '/v2/a/blobs/*', fault.impatient(200, 1024 * 1024))
    const read = (pauseMs: number): Promise<number> =>
      new Promise((resolve) => {
        get(`${upstream.url}/v2/a/blobs/${digest}`, { agent: false }, (response) => {
          let bytes = 0
          setTimeout(() => {
            response.on('data', (chunk: Buffer) => {
              bytes += chunk.length
            })
          }, pauseMs)
          response.once('error', () => {})
          response.once('close', () => resolve(bytes))
        })
      })
    expect(await read(0)).toBe(size)
    const cut = await read(700)
    expect([cut % (1024 * 1024), cut > 0, cut < size]).toEqual([0, true, true])
  })

  it('asks for a token of the right scope, and refuses it once revoked', async () => {
    const auth = { kind: 'token', username: 'u', password: 'p' } as const
    const { upstream, blob } = await upstreamWith('hello', { auth })
    const challenge = (await fetch(upstream.url + blob)).headers.get('www-authenticate')
    expect(challenge).toBe(
      `Bearer realm="${upstream.url}/token",service="fake-upstream",scope="repository:a:pull"`,
    )
    const tokenFor = async (scope: string, login?: string): Promise<Response> =>
      fetch(`${upstream.url}/token?service=fake-upstream&scope=${scope}`, {
        headers: login ? { authorization: `Basic ${Buffer.from(login).toString('base64')}` } : {},
      })
    const pull = async (scope: string, login?: string): Promise<number> => {
      const { token } = (await (await tokenFor(scope, login)).json()) as { token: string }
      return (await fetch(upstream.url + blob, { headers: { authorization: `Bearer ${token}` } })).status
    }
    expect((await tokenFor('repository:a:pull', 'u:wrong')).status).toBe(401)
    expect(await pull('repository:a:pull')).toBe(401)
    expect(await pull('repository:b:pull', 'u:p')).toBe(401)
    expect(await pull('repository:a:pull', 'u:p')).toBe(200)
    upstream.next('GET', '/token', fault.status(500))
    expect((await tokenFor('repository:a:pull', 'u:p')).status).toBe(500)
  })

  it('keeps to its latency and bandwidth, and counts its bytes', async () => {
    const { upstream } = await upstreamWith('', { latencyMs: 30, bytesPerSecond: 10_000_000 })
    const source = randomSource({ size: 2_000_000 })
    const { digest } = upstream.content.putBlob('a', source)
    const start = performance.now()
    const body = Buffer.from(await (await fetch(`${upstream.url}/v2/a/blobs/${digest}`)).arrayBuffer())
    const took = performance.now() - start
    expect(took).toBeGreaterThan(200)
    expect(took).toBeLessThan(1500)
    expect(digestOf(body)).toBe(digest)
    expect(upstream.bytesSent()).toBeGreaterThan(2_000_000)
    expect(upstream.bytesSent()).toBeLessThan(2_001_000)
  })
})

it('generates the same bytes from any position', () => {
  const source = randomSource({ size: 700_001, seed: 7 })
  const all = sourceBytes(source)
  expect(Buffer.concat([...source.read(300_007, 650_000)])).toEqual(all.subarray(300_007, 650_000))
  expect(sourceDigest(source)).toBe(digestOf(all))
})
