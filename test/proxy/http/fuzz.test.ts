import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseEndpoint } from '../../../proxy/oci/reference.ts'
import { type Edge, putManifest, startEdge } from './fixtures.ts'
import { ask } from './wire.ts'

// Rows of the table of bad inputs, mutated: whatever comes, the answer is one of ours and the decision that of the model.

const canary = 'canary-7f3a'
const statuses = [200, 206, 301, 304, 400, 401, 403, 404, 405, 413, 414, 416, 417, 429, 431]

let edge: Edge
beforeAll(async () => {
  edge = await startEdge()
  putManifest(edge.pull, 'alpine', 'latest')
  putManifest(edge.pull, canary, 'latest', { bytes: Buffer.from(canary) })
  edge.pull.before = (request) => {
    // the decision was made on what was parsed: nothing reaches the pull through a registry that is not for everyone
    expect(['team/vr1', 'team/hosted']).toContain(request.registry.key)
    expect(request.repository).toMatch(
      /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/,
    )
    expect(request.ns).toMatch(/^[a-z0-9._:[\]-]*$/)
  }
})
afterAll(async () => {
  await edge.close()
})

const hex = 'a'.repeat(64)
const seeds = [
  '/v2/vr1/alpine/manifests/latest',
  `/v2/private/${canary}/manifests/latest`,
  '//v2/vr1/alpine/manifests/latest',
  '/v2/vr1/../private/alpine/manifests/latest',
  '/v2/vr1/..%2fprivate/alpine/manifests/latest',
  '/v2/privat%65/alpine/manifests/x',
  '/v2/vr1/a%00b/manifests/x',
  '/v2/vr1/a%zz/manifests/x',
  '/v2/vr1/a%0d%0aX-Injected:1/manifests/x',
  `/v2/vr1/${'a-'.repeat(300)}!/manifests/latest`,
  '/v2/vr1/a;b=c/manifests/x',
  '/v2/vr1/alpine/manifests/latest#frag',
  'http://evil.example/v2/vr1/alpine/manifests/latest',
  '/private/v2/alpine/manifests/latest',
  '/v2/vr1/alpine/manifests/sha256:totallywrong',
  `/v2/vr1/alpine/blobs/sha256:${hex}`,
  `/v2/vr1/alpine/referrers/sha256:${hex}?artifactType=x`,
  '/v2/vr1/alpine/tags/list?n=-1&last=../../x',
  '/v2/vr1/alpine/manifests/latest?ns=169.254.169.254',
  '/v2/_catalog?n=1',
  '/.git/config',
]

const seed = fc.constantFrom(...seeds)
const inserted = fc.constantFrom(
  '/',
  '.',
  '%00',
  '\t',
  '..',
  '%2f',
  '//',
  '?',
  '#',
  '@',
  ':',
  '%',
  'v2/',
  'private/',
)
const at = fc.nat({ max: 200 })

const mutated = fc.oneof(
  fc.tuple(seed, seed).map(([a, b]) => a + b),
  fc.tuple(seed, at).map(([text, place]) => encodeAt(text, place)),
  fc.tuple(seed, at).map(([text, place]) => flipCase(text, place)),
  fc.tuple(seed, at, inserted).map(([text, place, what]) => text.slice(0, place) + what + text.slice(place)),
  fc
    .tuple(seed, at, at)
    .map(([text, from, to]) => text.slice(0, Math.min(from, to)) + text.slice(Math.max(from, to))),
)
const target = fc.oneof(
  mutated,
  fc.tuple(mutated, mutated, at).map(([a, b, place]) => a.slice(0, place) + b.slice(place)),
)
const method = fc.constantFrom('GET', 'GET', 'GET', 'HEAD', 'PUT', 'DELETE')
const header = fc.constantFrom(
  '',
  'Range: bytes=0-0,1-1\r\n',
  'If-None-Match: *\r\n',
  'Content-Length: 0\r\n',
  'Host: vr.example\r\n',
  'X-Forwarded-Host: private\r\n',
)

it('answers every mutation as one of ours, and gives away nothing', { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(method, target, header, async (verb, text, extra) => {
      edge.pull.requests.length = 0
      const startedAt = performance.now()
      const answer = await ask(
        edge.port,
        `${verb} ${text} HTTP/1.1\r\nHost: x\r\n${extra}\r\n`,
        verb === 'HEAD',
      )
      expect(performance.now() - startedAt).toBeLessThan(1000)
      expect(statuses).toContain(answer.status)
      expect(answer.headers).not.toHaveProperty('x-injected')
      expect(answer.body.toString()).not.toContain(canary)
      if (answer.status >= 400 && verb !== 'HEAD') {
        expect(answer.headers['content-type']).toBe('application/json')
        expect(JSON.parse(answer.body.toString()).errors[0]).toMatchObject({ code: expect.any(String) })
      }
      if (verb === 'PUT' || verb === 'DELETE') expect(edge.pull.requests).toEqual([])
    }),
    { numRuns: 1500 },
  )
  expect((await ask(edge.port, 'GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n')).status).toBe(200)
})

it('reads a path one way or not at all, in no time', () => {
  fc.assert(
    fc.property(fc.oneof(target, fc.string({ unit: 'binary', maxLength: 700 })), (text) => {
      const startedAt = performance.now()
      try {
        const endpoint = parseEndpoint(text)
        if (endpoint.kind !== 'version') expect(text).toContain(endpoint.name.repository)
      } catch (error) {
        expect(error).toMatchObject({ name: 'OciError', status: expect.any(Number) })
      }
      expect(performance.now() - startedAt).toBeLessThan(2_000)
    }),
    { numRuns: 5000 },
  )
})

function encodeAt(text: string, place: number): string {
  const character = text[place % text.length]!
  const encoded = `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`
  return text.slice(0, place % text.length) + encoded + text.slice((place % text.length) + 1)
}

function flipCase(text: string, place: number): string {
  const index = place % text.length
  const character = text[index]!
  const flipped = character === character.toUpperCase() ? character.toLowerCase() : character.toUpperCase()
  return text.slice(0, index) + flipped + text.slice(index + 1)
}
