import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import type { BlobRequest } from '../../../proxy/pull/pull.ts'
import { bodyOf, type Edge, registry, startEdge, tableOf } from './fixtures.ts'

const bytes = Buffer.from('a blob that S3 has')
const digest = digestOf(bytes)
const location = `https://s3.example/bucket/blobs/x?X-Amz-Signature=canary-signature`

let edge: Edge
let asked: BlobRequest[]

beforeEach(async () => {
  asked = []
  edge = await startEdge({
    table: tableOf(registry('redirected', { blobDelivery: 'Redirect' }), registry('proxied')),
  })
  edge.pull.blob = async (request) => {
    asked.push(request)
    request.story.outcome = request.mayRedirect ? 'redirect' : 'hit'
    const known = { digest, mediaType: undefined, size: bytes.length, lease: undefined }
    if (request.mayRedirect) return { ...known, body: undefined, location }
    return { ...known, body: request.method === 'GET' ? bodyOf(bytes) : undefined }
  }
})
afterEach(() => edge.close())

const get = (headers: Record<string, string> = {}, { method = 'GET', of = 'redirected', query = '' } = {}) =>
  fetch(`http://127.0.0.1:${edge.port}/v2/${of}/app/blobs/${digest}${query}`, {
    ...{ method, headers, redirect: 'manual' },
  })

describe('a blob of a registry that says Redirect', () => {
  it('is answered with where it is, for this client alone and with nothing beside', async () => {
    const response = await get({}, { query: '?ns=docker.io' })
    expect([response.status, await response.text()]).toEqual([307, ''])
    expect(Object.fromEntries(response.headers)).toEqual({
      location,
      'docker-content-digest': digest,
      'cache-control': 'no-store',
      'content-length': '0',
      'oci-namespace': 'docker.io',
      date: expect.any(String),
      connection: expect.any(String),
      'keep-alive': expect.any(String),
    })
  })

  it('is told in the log and counted, but not where', async () => {
    await (await get()).text()
    await expect
      .poll(() => edge.lines().find(({ kind }) => kind === 'blob'))
      .toMatchObject({
        ...{ status: 307, outcome: 'redirect', bytes: 0, reference: digest },
      })
    const series = await edge.metrics.scrape()
    expect(series).toContain(
      'headwater_requests_total{registry="team/redirected",kind="blob",outcome="redirect"} 1',
    )
    expect(series).not.toMatch(/headwater_served_bytes_total\{/)
    expect(JSON.stringify(edge.lines()) + series).not.toContain('canary-signature')
  })

  it('is redirected for a single range too, which S3 then gives', async () => {
    expect((await get({ range: 'bytes=3-' })).status).toBe(307)
  })

  it('is refused here for a range that it does not have', async () => {
    const response = await get({ range: 'bytes=1000-' })
    expect([response.status, response.headers.get('content-range')]).toEqual([416, `bytes */${bytes.length}`])
    expect(await response.json()).toMatchObject({ errors: [{ code: expect.any(String) }] })
    expect(response.headers.get('location')).toBeNull()
  })

  it.each([
    ['HEAD', { method: 'HEAD' }, {}, 200],
    ['several ranges', {}, { range: 'bytes=0-1,4-5' }, 200],
    ['a range of what has our ETag', {}, { range: 'bytes=0-1', 'if-range': `"${digest}"` }, 206],
    ['what a client has already', {}, { 'if-none-match': `"${digest}"` }, 304],
    ['another registry', { of: 'proxied' }, {}, 200],
  ])('stays with the proxy: %s', async (_, options, headers, status) => {
    const response = await get(headers as Record<string, string>, options)
    await response.arrayBuffer()
    expect([response.status, response.headers.get('location')]).toEqual([status, null])
    expect(asked.map((one) => one.mayRedirect === true && one.method === 'GET')).toEqual([false])
  })
})
