import { METHODS } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { createTagLists } from '../../../proxy/pull/tag-lists.ts'
import { type Edge, putBlob, putManifest, startEdge } from './fixtures.ts'
import { ask, openWire, request, type WireAnswer } from './wire.ts'

// The rows of the table of bad inputs, by section and number, against the edge over a pull that only remembers.

let edge: Edge
let manifest: ReturnType<typeof putManifest>
let blob: ReturnType<typeof putBlob>

beforeAll(async () => {
  edge = await startEdge()
  manifest = putManifest(edge.pull, 'alpine', 'latest')
  blob = putBlob(edge.pull, 'alpine', Buffer.from('0123456789'.repeat(100)))
})

afterAll(async () => {
  await edge.close()
})

beforeEach(() => {
  edge.pull.requests.length = 0
})

const hex = 'a'.repeat(64)

/** What every refusal owes: the specification's body and type, and that the next valid request works. */
function expectRefusal(answer: WireAnswer, status: number, code: string): void {
  expect({ status: answer.status, type: answer.headers['content-type'] }).toEqual({
    status,
    type: 'application/json',
  })
  const body = JSON.parse(answer.body.toString())
  expect(body).toEqual({ errors: [expect.objectContaining({ code, message: expect.any(String) })] })
  expect(Number(answer.headers['content-length'])).toBe(answer.body.length)
}

async function expectStillServing(): Promise<void> {
  const answer = await request(edge.port, '/v2/vr1/alpine/manifests/latest')
  expect(answer.status).toBe(200)
}

type Refused = [row: string, target: string, status: number, code: string]

describe('paths and names', () => {
  const refused: Refused[] = [
    ['A2', '//v2/vr1/alpine/manifests/latest', 404, 'NAME_UNKNOWN'],
    ['A3', '/v2//vr1/alpine/manifests/latest', 400, 'NAME_INVALID'],
    ['A4', '/v2/vr1/../vr2/alpine/manifests/latest', 400, 'NAME_INVALID'],
    ['A4', '/v2/../v2/vr1/alpine/manifests/latest', 400, 'NAME_INVALID'],
    ['A6', '/v2/vr1/..%2fvr2/alpine/manifests/latest', 400, 'NAME_INVALID'],
    ['A7', '/v2/vr1/a%2Fb/manifests/x', 400, 'NAME_INVALID'],
    ['A8', '/v2/privat%65/alpine/manifests/x', 400, 'NAME_INVALID'],
    ['A9', '/v2/vr1/a%252Fb/manifests/x', 400, 'NAME_INVALID'],
    ['A10', '/v2/vr1/a%00b/manifests/x', 400, 'NAME_INVALID'],
    ['A11', '/v2/vr1/a%zz/manifests/x', 400, 'NAME_INVALID'],
    ['A11', '/v2/vr1/%/manifests/x', 400, 'NAME_INVALID'],
    ['A11', '/v2/vr1/a/manifests/%f', 400, 'NAME_INVALID'],
    ['A11', '/%', 400, 'NAME_INVALID'],
    ['A13', '/v2/vr1/a%0d%0aX-Injected:1/manifests/x', 400, 'NAME_INVALID'],
    ['A14', '/v2/vr1/Alpine/manifests/latest', 400, 'NAME_INVALID'],
    ...['-alpine', 'alpine-', '.alpine', '_alpine', 'a..b', 'a___b', 'a._b'].map(
      (name) => ['A15', `/v2/vr1/${name}/manifests/latest`, 400, 'NAME_INVALID'] as Refused,
    ),
    ...['a__b', 'a---b', 'a.b', 'a_b'].map(
      (name) => ['A16', `/v2/vr1/${name}/manifests/latest`, 404, 'MANIFEST_UNKNOWN'] as Refused,
    ),
    ['A17', `/v2/vr1/${'a'.repeat(255)}/manifests/latest`, 404, 'MANIFEST_UNKNOWN'],
    ['A18', `/v2/vr1/${'a'.repeat(256)}/manifests/latest`, 400, 'NAME_INVALID'],
    ['A18', `/v2/vr1/${'a'.repeat(4096)}/manifests/latest`, 400, 'NAME_INVALID'],
    ['A18', `/v2/vr1/${'a'.repeat(15_000)}/manifests/latest`, 400, 'NAME_INVALID'],
    ['A19', `/v2/vr1/${'a/'.repeat(127)}a/manifests/latest`, 404, 'MANIFEST_UNKNOWN'],
    ['A19', `/v2/vr1/${'a/'.repeat(199)}a/manifests/latest`, 400, 'NAME_INVALID'],
    ['A20', `/v2/vr1/${'a-'.repeat(5000)}!/manifests/latest`, 400, 'NAME_INVALID'],
    ['A22', '/v2/vr1/manifests/latest', 404, 'NAME_UNKNOWN'],
    ['A22', '/v2/manifests/latest', 404, 'NAME_UNKNOWN'],
    ['A24', '/v2/vr1/%C3%A5l/manifests/x', 400, 'NAME_INVALID'],
    ['A24', '/v2/vr1/%F0%9F%90%B3/manifests/x', 400, 'NAME_INVALID'],
    ['A24', '/v2/vr1/%E2%80%AEalpine/manifests/x', 400, 'NAME_INVALID'],
    ['A24', '/v2/vr1/%D0%B0lpine/manifests/x', 400, 'NAME_INVALID'],
    ['A26', '/v2/vr1/a;b=c/manifests/x', 400, 'NAME_INVALID'],
    ['A26', '/v2/vr1/a\\b/manifests/x', 400, 'NAME_INVALID'],
    ['A26', '/v2/vr1/a:b/manifests/x', 400, 'NAME_INVALID'],
    ['A26', '/v2/vr1/a@b/manifests/x', 400, 'NAME_INVALID'],
    ['A27', '/v2/vr1/alpine/manifests/latest#frag', 400, 'NAME_INVALID'],
    ['A27', '/v2/vr1/alpine/manifests/latest?a=b#frag', 400, 'NAME_INVALID'],
    ['A27', '/v2/#f', 400, 'NAME_INVALID'],
    ...['/V2/', '/v1/', '/v2/vr1/x/foo/bar', '/', '/favicon.ico', '/.git/config', '/metrics', '/readyz'].map(
      (path) => ['A29', path, 404, 'UNSUPPORTED'] as Refused,
    ),
    ['A30', '/v2/vr1/169.254.169.254/latest/manifests/x', 404, 'MANIFEST_UNKNOWN'],
    ['A30', '/v2/vr1/registry-1.docker.io/library/x/manifests/latest', 404, 'MANIFEST_UNKNOWN'],
  ]

  it.each(refused.map(titled))('%s: %s', async (_row, _shown, [target, status, code]) => {
    const startedAt = performance.now()
    const answer = await request(edge.port, target)
    expect(performance.now() - startedAt).toBeLessThan(1000)
    expectRefusal(answer, status, code)
    expect(answer.headers).not.toHaveProperty('x-injected')
    if (code !== 'MANIFEST_UNKNOWN') expect(edge.pull.requests).toEqual([])

    const head = await request(edge.port, target, { method: 'HEAD' })
    expect({ ...head.headers, date: '' }).toEqual({ ...answer.headers, date: '' })
    expect(head).toMatchObject({ status, body: Buffer.alloc(0) })
    await expectStillServing()
  })

  it.each(['/v2', '/v2/', '/vr1/v2/', '/vr1/v2', '/nobody/knows/v2/'])(
    'A1: %s says which API this is',
    async (path) => {
      const answer = await request(edge.port, path)
      expect(answer).toMatchObject({ status: 200, body: Buffer.from('{}') })
      expect(answer.headers).toMatchObject({
        'content-type': 'application/json',
        'docker-distribution-api-version': 'registry/2.0',
      })
      const head = await request(edge.port, path, { method: 'HEAD' })
      expect({ ...head.headers, date: '' }).toEqual({ ...answer.headers, date: '' })
    },
  )

  it('A20: the time for a hostile name is short', async () => {
    const startedAt = performance.now()
    for (let round = 0; round < 20; round++) {
      await request(edge.port, `/v2/vr1/${'a-'.repeat(300)}!/manifests/latest`)
    }
    expect((performance.now() - startedAt) / 20).toBeLessThan(50)
  })

  it('A23: an unknown registry, a forbidden one, a disabled one and what hides in them look the same', async () => {
    const shapes = [
      'alpine/manifests/latest',
      `alpine/blobs/${blob.digest}`,
      'alpine/tags/list',
      `alpine/referrers/${blob.digest}`,
      `${'a'.repeat(300)}/manifests/latest`,
      'alpine/manifests/latest?ns=docker.io',
      'alpine/manifests/latest?ns=%00',
    ]
    for (const shape of shapes) {
      for (const method of ['GET', 'HEAD']) {
        const [unknown, ...others] = await Promise.all(
          ['nothing', 'private', 'off'].map((name) => request(edge.port, `/v2/${name}/${shape}`, { method })),
        )
        expect(unknown!.status).toBe(404)
        if (method === 'GET') expectRefusal(unknown!, 404, 'NAME_UNKNOWN')
        for (const other of others) expect(withoutDate(other)).toEqual(withoutDate(unknown!))
      }
    }
    expect(edge.pull.requests).toEqual([])
  })

  it('A24: raw UTF-8 and control characters in a request line are no HTTP', async () => {
    for (const target of [
      '/v2/vr1/ål/manifests/x',
      '/v2/vr1/a\u0000b/manifests/x',
      '/v2/vr1/a b/manifests/x',
    ]) {
      expectRefusal(await ask(edge.port, `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`), 400, 'UNSUPPORTED')
    }
  })

  it('A28: the absolute form is its path, and its authority the host', async () => {
    const evil = await request(edge.port, 'http://evil.example/v2/vr1/alpine/manifests/latest', {
      host: 'vr.example',
    })
    expect(evil).toMatchObject({ status: 200, body: manifest.bytes })
    const claimed = await request(edge.port, 'http://vr.example:80/v2/alpine/manifests/latest', {
      host: 'evil.example',
    })
    expect(claimed.status).toBe(200)
    expectRefusal(await request(edge.port, 'http://evil.example'), 404, 'UNSUPPORTED')
    expectRefusal(await request(edge.port, 'ftp://evil.example/v2/'), 400, 'NAME_INVALID')
  })
})

describe('references and digests', () => {
  const refused: Refused[] = [
    ['B31', 'manifests/.INVALID_MANIFEST_NAME', 404, 'MANIFEST_UNKNOWN'],
    ['B32', `manifests/${'a'.repeat(128)}`, 404, 'MANIFEST_UNKNOWN'],
    ['B32', `manifests/${'a'.repeat(129)}`, 404, 'MANIFEST_UNKNOWN'],
    ['B33', 'manifests/-x', 404, 'MANIFEST_UNKNOWN'],
    ['B33', 'manifests/%2e%2e', 400, 'NAME_INVALID'],
    ['B33', 'manifests/%C3%A9', 400, 'NAME_INVALID'],
    ['B33', 'manifests/a/b', 404, 'NAME_UNKNOWN'],
    ['B34', 'manifests/', 404, 'MANIFEST_UNKNOWN'],
    ['B35', 'manifests/sha256:totallywrong', 400, 'DIGEST_INVALID'],
    ['B36', `manifests/sha256:${'a'.repeat(63)}`, 400, 'DIGEST_INVALID'],
    ['B36', `blobs/sha256:${'a'.repeat(65)}`, 400, 'DIGEST_INVALID'],
    ['B37', `blobs/sha256:${'A'.repeat(64)}`, 400, 'DIGEST_INVALID'],
    ['B38', `manifests/SHA256:${hex}`, 400, 'DIGEST_INVALID'],
    ['B38', `manifests/sha256=${hex}`, 404, 'MANIFEST_UNKNOWN'],
    ['B38', `manifests/sha256-${hex}`, 404, 'MANIFEST_UNKNOWN'],
    ['B39', 'manifests/md5:d41d8cd98f00b204e9800998ecf8427e', 400, 'DIGEST_INVALID'],
    ['B39', `blobs/sha1:${'a'.repeat(40)}`, 400, 'DIGEST_INVALID'],
    ['B39', 'manifests/foo+bar.b:abcd', 400, 'DIGEST_INVALID'],
    ['B41', 'blobs/latest', 400, 'DIGEST_INVALID'],
    ['B42', 'blobs/sha256:../../../etc/passwd', 400, 'DIGEST_INVALID'],
    ['B42', 'blobs/sha256:%2e%2e', 400, 'NAME_INVALID'],
    ['B46', `manifests/${hex}`, 404, 'MANIFEST_UNKNOWN'],
  ]

  it.each(refused.map(titled))('%s: %s', async (_row, _shown, [resource, status, code]) => {
    const answer = await request(edge.port, `/v2/vr1/alpine/${resource}`)
    expectRefusal(answer, status, code)
    const head = await request(edge.port, `/v2/vr1/alpine/${resource}`, { method: 'HEAD' })
    expect(head).toMatchObject({ status, body: Buffer.alloc(0) })
    if (code !== 'MANIFEST_UNKNOWN') expect(edge.pull.requests).toEqual([])
    await expectStillServing()
  })

  it('B35: a body sent along with a bad digest changes nothing', async () => {
    const answer = await request(edge.port, '/v2/vr1/alpine/manifests/sha256:totallywrong', {
      headers: { 'Content-Length': '0' },
    })
    expectRefusal(answer, 400, 'DIGEST_INVALID')
    const body = '{"x":1}'
    expectRefusal(
      await ask(
        edge.port,
        `GET /v2/vr1/alpine/manifests/sha256:totallywrong HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      ),
      400,
      'DIGEST_INVALID',
    )
  })

  it.each<[string, string]>([
    ['B44', `/v2/vr1/alpine/blobs/${digestOf(Buffer.from('a manifest'))}`],
    ['B45', `/v2/vr1/other/blobs/${digestOf(Buffer.from('0123456789'.repeat(100)))}`],
  ])('%s: %s is unknown to the pull, and so to the client', async (_row, target) => {
    expectRefusal(await request(edge.port, target), 404, 'BLOB_UNKNOWN')
  })

  it('gives the pull a sha512 digest whole', async () => {
    const digest = digestOf(manifest.bytes, 'sha512')
    expectRefusal(await request(edge.port, `/v2/vr1/alpine/manifests/${digest}`), 404, 'MANIFEST_UNKNOWN')
    expect(edge.pull.requests[0]?.request).toMatchObject({ reference: { digest } })
  })
})

describe('queries and lists', () => {
  const tags = Array.from({ length: 30 }, (_, index) => `v${index}`)

  beforeAll(() => {
    // the real reading of the query, over an upstream that has thirty tags
    const lists = createTagLists({
      questions: {
        async getList(_place: unknown, resource: string) {
          const query = new URLSearchParams(resource.split('?')[1])
          const after = tags.filter((tag) => tag > (query.get('last') ?? ''))
          const page = after.slice(0, Math.min(Number(query.get('n') ?? 10), 10))
          const link = page.length < after.length ? `<${resource}>; rel="next"` : undefined
          return {
            body: Buffer.from(JSON.stringify({ name: 'x', tags: page })),
            answer: { headers: { link } },
          }
        },
      } as never,
      monotonicNow: () => performance.now(),
    })
    edge.pull.tags = lists.tags
  })

  it.each(['-1', 'abc', '1.5', '', '0x10', '1e3'])('C48: n=%s is refused', async (n) => {
    expectRefusal(
      await request(edge.port, `/v2/vr1/alpine/tags/list?n=${n}`),
      400,
      'PAGINATION_NUMBER_INVALID',
    )
  })

  it('C49: n=0 gives no tags and no link', async () => {
    const answer = await request(edge.port, '/v2/vr1/alpine/tags/list?n=0')
    expect(answer.status).toBe(200)
    expect(JSON.parse(answer.body.toString())).toEqual({ name: 'vr1/alpine', tags: [] })
    expect(answer.headers).not.toHaveProperty('link')
  })

  it.each(['1000000000', '9223372036854775808'])('C50: n=%s is cut, and a link leads on', async (n) => {
    const answer = await request(edge.port, `/v2/vr1/alpine/tags/list?n=${n}`)
    expect(answer.status).toBe(200)
    expect(answer.headers.link).toMatch(/^<\/v2\/vr1\/alpine\/tags\/list\?[^>]+>; rel="next"$/)
  })

  it.each(['n=5&n=10', 'n[]=5', 'n[__proto__]=1'])('C51: %s does no harm', async (query) => {
    const answer = await request(edge.port, `/v2/vr1/alpine/tags/list?${query}`)
    expect(answer.status).toBe(200)
    if (query.startsWith('n=5')) expect(JSON.parse(answer.body.toString()).tags).toHaveLength(5)
  })

  it.each(['../../x', '%00', 'a'.repeat(10_240), 'nowhere'].map(shown))(
    'C52: last=$shown is only a place to go on from',
    async ({ text: last }) => {
      const answer = await request(edge.port, `/v2/vr1/alpine/tags/list?last=${last}`)
      expect(answer.status).toBe(200)
    },
  )

  it.each(['/v2/_catalog', '/v2/_catalog?n=1', '/v2/vr1/_catalog'])(
    'C54: there is no catalog at %s',
    async (path) => {
      expectRefusal(await request(edge.port, path), 404, 'UNSUPPORTED')
    },
  )

  it.each(['sha256:bad', 'latest'])('C55: referrers of %s are refused', async (subject) => {
    expectRefusal(await request(edge.port, `/v2/vr1/alpine/referrers/${subject}`), 400, 'DIGEST_INVALID')
  })

  it('C56: referrers keep the type, the filters and the body that the pull gives', async () => {
    const body = Buffer.from('{"schemaVersion":2,"manifests":[]}')
    const mediaType = 'application/vnd.oci.image.index.v1+json'
    edge.pull.list = () => ({
      body,
      mediaType,
      next: undefined,
      filtersApplied: undefined,
      warning: undefined,
    })
    const answer = await request(edge.port, `/v2/vr1/alpine/referrers/${blob.digest}`)
    expect(answer).toMatchObject({ status: 200, body })
    expect(answer.headers['content-type']).toBe(mediaType)
    expect(answer.headers).not.toHaveProperty('oci-filters-applied')
  })

  it('C57: many or long artifact types are passed on; the filters are named only where they were applied', async () => {
    const list = edge.pull.list()
    edge.pull.list = () => ({ ...list, filtersApplied: 'artifactType' })
    for (const query of ['artifactType=a&'.repeat(100), `artifactType=${'a'.repeat(10_240)}`]) {
      const answer = await request(edge.port, `/v2/vr1/alpine/referrers/${blob.digest}?${query}`)
      expect(answer.status).toBe(200)
      expect(answer.headers['oci-filters-applied']).toBe('artifactType')
    }
  })

  it.each(['evil.example', '169.254.169.254', 'a%0d%0ab', '%00', 'a'.repeat(300), 'http://evil'].map(shown))(
    'C58: ns=$shown is never more than a name that nobody has',
    async ({ text: ns }) => {
      edge.pull.before = ({ ns }) => {
        expect(ns).toMatch(/^[a-z0-9.]+$/)
      }
      const answer = await request(edge.port, `/v2/vr1/nothing/manifests/latest?ns=${ns}`)
      expect(answer.status).toBe(404)
      expect(answer.headers).not.toHaveProperty('oci-namespace')
      edge.pull.before = () => {}
    },
  )

  it('C58b: ns is handed on in lower case, and named in what it found', async () => {
    const answer = await request(edge.port, '/v2/vr1/alpine/manifests/latest?ns=Docker.IO')
    expect(answer).toMatchObject({ status: 200, body: manifest.bytes })
    expect(answer.headers['oci-namespace']).toBe('docker.io')
    expect(edge.pull.requests[0]?.request.ns).toBe('docker.io')
  })

  it('C59: a long query and five thousand parameters are read in no time', async () => {
    const startedAt = performance.now()
    const long = await request(edge.port, `/v2/vr1/alpine/manifests/latest?x=${'y'.repeat(15 * 1024)}`)
    const many = await request(edge.port, `/v2/vr1/alpine/manifests/latest?${'a&'.repeat(5000)}`)
    expect([long.status, many.status]).toEqual([200, 200])
    expect(performance.now() - startedAt).toBeLessThan(1000)
  })
})

describe('verbs and bodies', () => {
  const targets: [string, string, string][] = [
    ['F99', 'POST', '/v2/vr1/alpine/blobs/uploads/'],
    ['F99', 'POST', '/v2/vr1/alpine/blobs/uploads/?mount=sha256:a&from=b'],
    ['F99', 'POST', '/v2/vr1/alpine/blobs/uploads/?digest=sha256:a'],
    ['F100', 'PATCH', '/v2/vr1/alpine/blobs/uploads/00000000-0000-0000-0000-000000000000'],
    ['F100', 'PUT', '/v2/vr1/alpine/blobs/uploads/00000000-0000-0000-0000-000000000000'],
    ['F101', 'DELETE', '/v2/vr1/alpine/manifests/latest'],
    ['F101', 'DELETE', `/v2/vr1/alpine/blobs/sha256:${hex}`],
    ['F101', 'DELETE', '/v2/vr1/alpine/tags/list'],
    ...METHODS.filter((method) => !['GET', 'HEAD', 'CONNECT'].includes(method)).map(
      (method) => ['F103', method, '/v2/vr1/alpine/manifests/latest'] as [string, string, string],
    ),
    ['F103', 'OPTIONS', '*'],
    ['F103', 'PUT', '/%'],
  ]

  it.each(targets)('%s: %s %s is not allowed', async (_row, method, target) => {
    const answer = await request(edge.port, target, { method })
    expectRefusal(answer, 405, 'UNSUPPORTED')
    expect(answer.headers.allow).toBe('GET, HEAD')
    expect(edge.pull.requests).toEqual([])
    await expectStillServing()
  })

  it('F100: a body of 5 GiB is answered before it is read, and cut', async () => {
    const wire = await openWire(edge.port)
    wire.write(
      `PUT /v2/vr1/alpine/manifests/latest HTTP/1.1\r\nHost: x\r\nContent-Length: ${5 * 1024 ** 3}\r\nContent-Type: application/json\r\n\r\n`,
    )
    const answer = await wire.next()
    expectRefusal(answer!, 405, 'UNSUPPORTED')
    expect(answer!.headers.connection).toBe('close')
    const chunk = Buffer.alloc(256 * 1024)
    let taken = 0
    while (!wire.socket.destroyed) {
      const failed = await new Promise((resolve) => wire.socket.write(chunk, resolve))
      if (!failed) taken += chunk.length
    }
    // 64 KiB, and what the kernel had taken by then
    expect(taken).toBeLessThan(32 * 1024 * 1024)
  })

  it('F100: who waits to be told to go on is answered instead', async () => {
    const wire = await openWire(edge.port)
    wire.write(
      `PUT /v2/vr1/alpine/manifests/latest HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n`,
    )
    expectRefusal((await wire.next())!, 405, 'UNSUPPORTED')
    wire.socket.destroy()
  })

  it('F100: after a short body the connection goes on', async () => {
    const wire = await openWire(edge.port)
    for (let round = 0; round < 2; round++) {
      wire.write('PUT /v2/vr1/alpine/manifests/latest HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello')
      expectRefusal((await wire.next())!, 405, 'UNSUPPORTED')
    }
    wire.socket.destroy()
  })

  it('F102: JSON that is none is not even looked at', async () => {
    expectRefusal(
      await ask(
        edge.port,
        'PUT /v2/vr1/alpine/manifests/latest HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{',
      ),
      405,
      'UNSUPPORTED',
    )
  })

  it('F103: CONNECT ends the connection', async () => {
    const wire = await openWire(edge.port)
    wire.write('CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n')
    expect(await wire.end()).toBe('')
    await expectStillServing()
  })

  it('F104: a verb in a header or a query is none', async () => {
    const answer = await request(edge.port, '/v2/vr1/alpine/manifests/latest?_method=DELETE', {
      headers: { 'X-HTTP-Method-Override': 'DELETE' },
    })
    expect(answer).toMatchObject({ status: 200, body: manifest.bytes })
  })

  it.each([
    ['a length', 'Content-Length: 60', ''],
    ['gzip', 'Content-Encoding: gzip\r\nContent-Length: 60', ''],
  ])(
    'F105: a GET with %s has its body ignored, and what is in it is not executed',
    async (_name, headers) => {
      const smuggled = 'GET /v2/vr1/smuggled/manifests/latest HTTP/1.1\r\nHost: x\r\n\r\n'
        .padEnd(60, ' ')
        .slice(0, 60)
      const wire = await openWire(edge.port)
      wire.write(`GET /v2/vr1/alpine/manifests/latest HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n${smuggled}`)
      expect(await wire.next()).toMatchObject({ status: 200, body: manifest.bytes })
      wire.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n')
      expect(await wire.next()).toMatchObject({ status: 200, body: Buffer.from('{}') })
      expect(edge.pull.requests).toHaveLength(1)
      wire.socket.destroy()
    },
  )

  it.each([
    ['chunked', 'Transfer-Encoding: chunked'],
    ['of 1 GiB', `Content-Length: ${1024 ** 3}`],
  ])('F105: after a GET with a body %s the connection ends', async (_name, header) => {
    const wire = await openWire(edge.port)
    wire.write(`GET /v2/vr1/alpine/manifests/latest HTTP/1.1\r\nHost: x\r\n${header}\r\n\r\n5\r\nhello\r\n`)
    const answer = await wire.next()
    expect(answer).toMatchObject({ status: 200, body: manifest.bytes })
    expect(answer?.headers.connection).toBe('close')
    expect(await wire.end()).toBe('')
  })
})

describe('the wire', () => {
  const get = 'GET /v2/vr1/alpine/manifests/latest HTTP/1.1\r\nHost: x\r\n'

  const garbage: [string, string][] = [
    ['G106', `${get}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello`],
    ['G106', `${get}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`],
    ['G107', `${get}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['G107', `${get}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
    ['G107', `${get}Content-Length: -5\r\n\r\n`],
    ['G107', `${get}Content-Length: +5\r\n\r\n`],
    ['G107', `${get}Content-Length: 99999999999999999999999\r\n\r\n`],
    ['G107', `${get}Content-Length : 5\r\n\r\n`],
    ['G107', `${get}X: a\r\n b\r\n\r\n`],
    ['G107', `GET /v2/ HTTP/1.1\nHost: x\n\n`],
    ['G107', `GET /v2/ HTTP/1.1\rHost: x\r\r`],
    ['G107', `${get}X: a\u0000b\r\n\r\n`],
    ['G110', 'GET /v2/ HTTP/1.1\r\n\r\n'],
    ['G110', `${get}Host: vr.example\r\n\r\n`],
    ['G110', 'GET /v2/ HTTP/1.1\r\nHost: a, b\r\n\r\n'],
    ['G110', 'GET /v2/ HTTP/1.1\r\nHost: a/b\r\n\r\n'],
    ['G110', 'GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n'],
    ['G110', 'BREW /v2/ HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['G110', 'get /v2/ HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['G110', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['G110', 'GET /v2/å HTTP/1.1\r\nHost: x\r\n\r\n'],
  ]

  it.each(garbage)('%s: %j is refused and the connection closed', async (_row, text) => {
    const wire = await openWire(edge.port)
    wire.write(Buffer.from(text, 'utf8'))
    const answer = await wire.next()
    expectRefusal(answer!, 400, 'UNSUPPORTED')
    expect(answer!.headers.connection).toBe('close')
    expect(await wire.end()).toBe('')
    await expectStillServing()
  })

  it.each([
    ['headers', `${get}X: ${'a'.repeat(17 * 1024)}\r\n\r\n`],
    ['a target', `GET /v2/${'a'.repeat(17 * 1024)} HTTP/1.1\r\nHost: x\r\n\r\n`],
  ])('G111: %s of 17 KiB are too much', async (_name, text) => {
    expectRefusal(await ask(edge.port, text), 431, 'UNSUPPORTED')
  })

  it('G112: 2,500 header lines do no harm', async () => {
    const answer = await ask(edge.port, `${get}${'a:b\r\n'.repeat(2500)}\r\n`)
    expect([200, 431]).toContain(answer.status)
    await expectStillServing()
  })

  it('G113: headers named like properties, and many names, do no harm', async () => {
    const named = await ask(edge.port, `${get}__proto__: x\r\nconstructor: y\r\nhasOwnProperty: z\r\n\r\n`)
    expect(named.status).toBe(200)
    for (const count of [900, 2400]) {
      const many = Array.from({ length: count }, (_, index) => `x${index.toString(36)}:\r\n`).join('')
      expect([200, 431]).toContain((await ask(edge.port, `${get}${many}\r\n`)).status)
    }
    await expectStillServing()
  })

  it('G114: an unknown expectation fails; an upgrade is ignored', async () => {
    const expecting = await ask(edge.port, `${get}Expect: foo\r\n\r\n`)
    expectRefusal(expecting, 417, 'UNSUPPORTED')
    for (const upgrade of ['h2c', 'websocket']) {
      const answer = await ask(edge.port, `${get}Connection: Upgrade\r\nUpgrade: ${upgrade}\r\n\r\n`)
      expect(answer).toMatchObject({ status: 200, body: manifest.bytes })
    }
  })

  it('G115: a thousand pipelined requests are answered in order', async () => {
    const wire = await openWire(edge.port)
    const tags = Array.from({ length: 10 }, (_, index) => putManifest(edge.pull, 'alpine', `v${index}`))
    const requests = Array.from({ length: 1000 }, (_, index) =>
      get.replace('latest', `v${index % 10}`).concat('\r\n'),
    )
    wire.write(requests.join(''))
    for (let index = 0; index < 1000; index++) {
      expect((await wire.next())?.body).toEqual(tags[index % 10]!.bytes)
    }
    wire.socket.destroy()
  })

  it('G115: one that sends requests on and on while it waits for an answer is closed', async () => {
    let go = () => {}
    const gone = new Promise<void>((resolve) => {
      go = resolve
    })
    edge.pull.before = () => gone
    const wire = await openWire(edge.port)
    wire.write(`${get}\r\n${'GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(20_000)}`)
    expect(await wire.end()).toBe('')
    go()
    edge.pull.before = () => {}
    await expectStillServing()
  })

  it('G115: of pipelined pulls only one runs at a time', async () => {
    let running = 0
    let most = 0
    edge.pull.before = async () => {
      running += 1
      most = Math.max(most, running)
      await new Promise((resolve) => setTimeout(resolve, 1))
      running -= 1
    }
    const wire = await openWire(edge.port)
    wire.write(`${get}\r\n`.repeat(50))
    for (let index = 0; index < 50; index++) expect((await wire.next())?.status).toBe(200)
    edge.pull.before = () => {}
    expect(most).toBe(1)
    wire.socket.destroy()
  })
})

describe('ranges, conditions and negotiation', () => {
  const whole = '0123456789'.repeat(100)

  const ranges: [string, number, string, string][] = [
    ['bytes=0-0', 206, '0', 'bytes 0-0/1000'],
    ['bytes=500-', 206, whole.slice(500), 'bytes 500-999/1000'],
    ['bytes=0-', 206, whole, 'bytes 0-999/1000'],
    ['bytes=-500', 206, whole.slice(500), 'bytes 500-999/1000'],
    ['bytes=-5000', 206, whole, 'bytes 0-999/1000'],
    ['bytes=0-99999999999999999999', 206, whole, 'bytes 0-999/1000'],
    ['BYTES=990-994', 206, '01234', 'bytes 990-994/1000'],
    ['abc', 200, whole, ''],
    ['items=0-1', 200, whole, ''],
    ['bytes=-', 200, whole, ''],
    ['bytes=0-0,2-2', 200, whole, ''],
    [`bytes=${'0-0,'.repeat(1000)}0-0`, 200, whole, ''],
  ]

  it.each(ranges.map((row) => [shorten(row[0]), ...row] as const))(
    'H117: Range: %s',
    async (_shown, range, status, body, contentRange) => {
      const answer = await request(edge.port, `/v2/vr1/alpine/blobs/${blob.digest}`, {
        headers: { Range: range },
      })
      expect({ status: answer.status, body: answer.body.toString() }).toEqual({ status, body })
      expect(answer.headers['content-range'] ?? '').toBe(contentRange)
      expect(answer.headers).toMatchObject({
        'accept-ranges': 'bytes',
        'content-length': String(body.length),
        'content-type': 'application/octet-stream',
        'docker-content-digest': blob.digest,
        etag: `"${blob.digest}"`,
      })
      expect(blob.bodies.at(-1)?.closed).toBe(true)
    },
  )

  it.each(['bytes=500-0', 'bytes=1000-', 'bytes=99999999999999999999-', 'bytes=-0'])(
    'H117: Range: %s cannot be satisfied',
    async (range) => {
      const answer = await request(edge.port, `/v2/vr1/alpine/blobs/${blob.digest}`, {
        headers: { Range: range },
      })
      expectRefusal(answer, 416, 'RANGE_INVALID')
      expect(answer.headers['content-range']).toBe('bytes */1000')
      expect(blob.bodies.at(-1)?.closed).toBe(true)
    },
  )

  it('H117: If-Range that is not the digest gives all of it', async () => {
    const target = `/v2/vr1/alpine/blobs/${blob.digest}`
    const headers = { Range: 'bytes=0-0' }
    for (const condition of ['"other"', `W/"${blob.digest}"`, 'Sun, 22 Nov 2026 05:00:00 GMT']) {
      const answer = await request(edge.port, target, { headers: { ...headers, 'If-Range': condition } })
      expect(answer).toMatchObject({ status: 200, body: blob.bytes })
    }
    const answer = await request(edge.port, target, {
      headers: { ...headers, 'If-Range': `"${blob.digest}"` },
    })
    expect(answer).toMatchObject({ status: 206, body: Buffer.from('0') })
  })

  it('H117: a size that is not known has no ranges', async () => {
    const { digest, bytes } = putBlob(edge.pull, 'alpine', Buffer.from('of no size'), { sized: false })
    const answer = await request(edge.port, `/v2/vr1/alpine/blobs/${digest}`, {
      headers: { Range: 'bytes=0-0' },
    })
    expect(answer).toMatchObject({ status: 200, body: bytes })
    expect(answer.headers).not.toHaveProperty('content-length')
  })

  const conditions = [
    (digest: string) => `"${digest}"`,
    () => '*',
    (digest: string) => `W/"${digest}"`,
    (digest: string) => `${'"other", '.repeat(1000)}"${digest}"`,
  ]

  it.each(conditions)('H118: a client that has it already is told so', async (condition) => {
    for (const [target, digest] of [
      ['/v2/vr1/alpine/manifests/latest', manifest.digest],
      [`/v2/vr1/alpine/blobs/${blob.digest}`, blob.digest],
    ] as const) {
      const answer = await request(edge.port, target, { headers: { 'If-None-Match': condition(digest) } })
      expect(answer).toMatchObject({ status: 304, body: Buffer.alloc(0) })
      expect(answer.headers).toMatchObject({ etag: `"${digest}"`, 'docker-content-digest': digest })
    }
    expect(edge.pull.requests.at(-1)?.request.method).toBe('HEAD')
  })

  it('H118: another condition gives the whole', async () => {
    const answer = await request(edge.port, '/v2/vr1/alpine/manifests/latest', {
      headers: { 'If-None-Match': '"other", latest' },
    })
    expect(answer).toMatchObject({ status: 200, body: manifest.bytes })
  })

  it.each([
    ['/v2/private/alpine/manifests/latest', 'NAME_UNKNOWN'],
    ['/v2/vr1/other/manifests/latest', 'MANIFEST_UNKNOWN'],
  ])('H118: %s has no 304', async (target, code) => {
    for (const condition of ['*', `"${manifest.digest}"`]) {
      expectRefusal(await request(edge.port, target, { headers: { 'If-None-Match': condition } }), 404, code)
    }
  })

  it.each(
    [
      '*/*',
      'text/html',
      ',;q=NaN',
      'application/vnd.docker.distribution.manifest.v1+json',
      `${'a/b,'.repeat(500)}x/y;q=0`,
    ].map(shown),
  )('H118: Accept: $shown is served what the upstream has', async ({ text: accept }) => {
    const answer = await request(edge.port, '/v2/vr1/alpine/manifests/latest', {
      headers: { Accept: accept },
    })
    expect(answer).toMatchObject({ status: 200, body: manifest.bytes })
    expect(answer.headers['content-type']).toBe('application/vnd.oci.image.manifest.v1+json')
  })

  it('H118: a blob is never encoded', async () => {
    const answer = await request(edge.port, `/v2/vr1/alpine/blobs/${blob.digest}`, {
      headers: { 'Accept-Encoding': 'zstd;q=1.0, gzip;q=0.8, deflate;q=0.5' },
    })
    expect(answer.body).toEqual(blob.bytes)
    expect(answer.headers).not.toHaveProperty('content-encoding')
  })
})

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

/** The row, what is shown of it, and all of it. */
function titled([row, target, status, code]: Refused) {
  return [row, `${shorten(target)} is refused with ${status} ${code}`, [target, status, code]] as const
}

function shown(text: string) {
  return { shown: shorten(text), text }
}

function withoutDate({ status, headers, body }: WireAnswer) {
  return { status, headers: { ...headers, date: '' }, body: body.toString() }
}
