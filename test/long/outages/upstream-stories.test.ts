import { createHash } from 'node:crypto'
import { get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Asked, ask } from '../../rig/asking.ts'
import { createFakeUpstream, type FakeUpstream, fault } from '../../rig/fake-upstream.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage } from '../../rig/images.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'
import { createScene, type Scene, type Stage, type StageOptions } from './scene.ts'

/** Rows of upstream faults whose course is their own, through the real process. The slow ones run beside the others. */
const mebi = 1024 * 1024
const login = { username: 'puller', password: 'canary-redirected' }
const stages: Readonly<Record<string, StageOptions>> = {
  once: {},
  two: {},
  cdn: { upstream: { auth: { kind: 'token', ...login } }, resource: login },
  expired: {},
  flapping: {},
  moving: {},
  gone: {},
  pages: {},
  slow: {},
  stalling: {},
  impatient: { layers: [1000, 30 * mebi] },
}

/** Those of the slow ones. */
const fillsBeside = 2

let scene: Scene
let cdn: FakeUpstream
let slow: Promise<Asked>
let stalling: Promise<Asked>

beforeAll(async () => {
  cdn = await createFakeUpstream({ host: '127.0.0.3' })
  for (const [tag, seed] of [
    ['cold', 2],
    ['later', 3],
  ] as const) {
    await pushImage(contentStore(cdn.content), 'app', { tag, seed, layers: [1000, 300_000] })
  }
  scene = await createScene(new Map(Object.entries(stages)), {
    watched: [{ upstream: cdn }],
    resources: [
      ...upstreamResources('nowhere', { url: 'http://registry.invalid' }),
      ...upstreamResources('metadata', { url: 'http://169.254.169.254' }),
      registryResource('nowhere', ['nowhere', 'bait']),
      registryResource('metadata', ['metadata', 'bait']),
    ],
  })
  slow = beginSlow('slow', fault.slow(1))
  stalling = beginSlow('stalling', fault.stall(150_000))
})

afterAll(async () => {
  await scene?.close()
  await cdn.close()
})

function beginSlow(name: string, one: ReturnType<typeof fault.hang>): Promise<Asked> {
  const { upstream, stale, cold } = scene.stage(name)
  upstream.next('GET', /\/blobs\//, one)
  return stale(`blobs/${cold.layers[1]!.digest}`)
}

async function expectMirrored(answer: Promise<Asked>, digest: string): Promise<void> {
  const { status, headers } = await answer
  expect({ status, digest: headers['docker-content-digest'] }).toEqual({ status: 200, digest })
}

it('U6: a 500 once costs one request more', async () => {
  const { upstream, stale, cold, seen } = await scene.begin('once')
  upstream.next('GET', /\/manifests\//, fault.status(500))
  await expectMirrored(stale('manifests/cold'), cold.manifest.digest)
  expect(seen()).toEqual(['GET /v2/app/manifests/cold 500', 'GET /v2/app/manifests/cold 200'])
  await scene.expectInvariants('once', { fillsBeside })
})

it('U16: what HEAD says of a tag is not believed of the GET’s body', async () => {
  const { upstream, head, stale, cold } = await scene.begin('two')
  const nothing = `sha256:${'0'.repeat(64)}`
  upstream.always('HEAD', '/v2/app/manifests/cold', fault.digestHeader(nothing))
  await expectMirrored(head('manifests/cold'), nothing)
  await expectMirrored(stale('manifests/cold'), cold.manifest.digest)
  await expectMirrored(stale('manifests/cold'), cold.manifest.digest)
  await scene.expectInvariants('two', { fillsBeside })
})

it('U31: redirects to a CDN are followed, for manifests and blobs, with nothing secret', async () => {
  const { upstream, stale, cold } = await scene.begin('cdn')
  const paths = [
    ...[`manifests/${cold.manifest.digest}`, 'manifests/cold'],
    ...[cold.config, ...cold.layers].map(({ digest }) => `blobs/${digest}`),
  ]
  for (const [number, status] of [301, 302, 303, 307, 308].entries()) {
    upstream.always(
      '*',
      /^\/v2\//,
      fault.redirect(({ url }) => cdn.url + url, status),
    )
    expect((await stale(paths[number]!)).status).toBe(200)
  }
  expect(cdn.requests().length).toBeGreaterThanOrEqual(5)
  expect(cdn.requests().filter(({ headers }) => headers.authorization !== undefined)).toEqual([])
  await scene.expectInvariants('cdn', { fillsBeside })
})

it('U34: a signed address that expired is asked for again, once; its error is never content', async () => {
  const { upstream, stale, cold } = await scene.begin('expired')
  upstream.always(
    'GET',
    /\/blobs\//,
    fault.redirect(({ path }) => `${cdn.url}/signed${path}`),
  )
  const xml = fault.status(403, { body: '<Error><Code>ExpiredToken</Code></Error>' })
  cdn.route(/^\/signed\//, ({ path }, reply) => {
    const digest = path.split('/').at(-1) as typeof cold.config.digest
    reply.body = cdn.content.repository('app')!.blobs.get(digest)!
    reply.headers['content-length'] = String(reply.body.size)
    return reply
  })
  cdn.next('GET', /^\/signed\//, xml)
  expect((await stale(`blobs/${cold.layers[1]!.digest}`)).status).toBe(200)
  cdn.always('GET', /^\/signed\//, xml)
  expect(await stale(`blobs/${cold.layers[0]!.digest}`)).toMatchObject({ status: 503, code: 'UNAVAILABLE' })
  await cdn.heal()
  await scene.expectInvariants('expired', { fillsBeside })
})

it.each([
  ['U39: is known to no name server', 'nowhere'],
  ['U39: is an address that is forbidden', 'metadata'],
])('an upstream that %s is trouble, soon', async (_what, registry) => {
  const tag = await ask(scene.headwater, `/v2/default/${registry}/app/manifests/cold`)
  expect(tag).toMatchObject({ status: 503, code: 'UNAVAILABLE' })
  expect(tag.ms).toBeLessThan(10_000)
  const { digest } = scene.elsewhere.layers[0]!
  expect((await ask(scene.headwater, `/v2/default/${registry}/app/blobs/${digest}`)).status).toBe(200)
})

it('U41: a flapping upstream is never answered for by the one below', async () => {
  const { upstream, both, cold } = await scene.begin('flapping')
  for (let number = 0; number < 24; number++) {
    upstream.content.tag('app', `t${number}`, cold.manifest.digest)
    scene.bait.content.tag('app', `t${number}`, scene.substitute.manifest.digest)
  }
  let turn = 0
  upstream.always('*', /\/manifests\/t/, async (reply, request) => {
    if (turn++ % 3 !== 0) await fault.status(503)(reply, request)
  })
  const answers = await Promise.all(Array.from({ length: 24 }, (_, number) => both(`manifests/t${number}`)))
  const digests = answers.map(({ status, headers }) =>
    status === 200 ? headers['docker-content-digest'] : status,
  )
  expect(new Set(digests)).toEqual(new Set([cold.manifest.digest, 503]))
  await scene.expectInvariants('flapping', { fillsBeside, requestsAtMost: 80 })
})

it('U42: a tag that moves while a hundred pull it is one whole image for each', async () => {
  const { upstream, stale, cached, cold } = await scene.begin('moving')
  const images = new Map([cached, cold].map((image) => [image.manifest.digest as string, image]))
  const moving = (async () => {
    for (let round = 0; round < 20; round++) {
      upstream.content.tag('app', 'v1', round % 2 === 0 ? cold.manifest.digest : cached.manifest.digest)
      await sleep(20)
    }
  })()
  const pulls = Array.from({ length: 100 }, async (_, number) => {
    await sleep(number * 4)
    const { headers } = await stale('manifests/v1')
    const image = images.get(String(headers['docker-content-digest']))
    return Promise.all(
      (image?.layers ?? []).map(async ({ digest }) => (await stale(`blobs/${digest}`)).status),
    )
  })
  for (const statuses of await Promise.all(pulls)) expect(statuses).toEqual([200, 200])
  await moving
  await scene.expectInvariants('moving', { fillsBeside, requestsAtMost: 150 })
})

it('U43: a layer that is gone upstream is unknown; its neighbours come', async () => {
  const { upstream, stale, cold } = await scene.begin('gone')
  await stale('manifests/cold')
  const [small, large] = [cold.layers[0]!, cold.layers[1]!]
  upstream.content.remove('app', small.digest)
  expect(await stale(`blobs/${small.digest}`)).toMatchObject({ status: 404, code: 'BLOB_UNKNOWN' })
  expect((await stale(`blobs/${large.digest}`)).status).toBe(200)
  expect((await stale('manifests/cold')).status).toBe(200)
  await scene.expectInvariants('gone', { fillsBeside })
})

it('U45, U18: a list’s next page is asked of the same upstream wherever its Link leads; one without end is refused', async () => {
  const { upstream, stale } = await scene.begin('pages')
  upstream.next(
    'GET',
    /tags\/list$/,
    fault.headers({ link: '<http://127.0.0.9:1/v2/x/tags/list?last=v1&n=1>; rel="next"' }),
  )
  const { headers } = await stale('tags/list?n=1')
  const [, next = ''] = /^<(.+)>; rel="next"$/.exec(String(headers.link)) ?? []
  expect(next).toMatch(/^\/v2\/default\/pages-stale\/app\/tags\/list\?/)
  expect((await ask(scene.headwater, next)).status).toBe(200)
  upstream.always('GET', /tags\/list$/, fault.endless('application/json'))
  expect((await stale('tags/list')).status).toBe(502)
  await scene.expectInvariants('pages', { fillsBeside })
})

it('U13: an upstream that cuts slow readers is read at its own speed, however slow the client', async () => {
  const { upstream, cold } = await scene.begin('impatient')
  upstream.always('GET', /\/blobs\//, fault.impatient(1_500, 8 * mebi))
  const { digest, size } = cold.layers[1]!
  const path = `/v2/default/impatient-stale/app/blobs/${digest}`
  const hash = createHash('sha256')
  let bytes = 0
  await new Promise<void>((resolve, reject) => {
    get(scene.headwater.url + path, { agent: false }, (response) => {
      response.pause()
      setTimeout(() => response.resume(), 3_000)
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        hash.update(chunk)
      })
      response.once('end', resolve)
      response.once('error', reject)
    })
  })
  expect(bytes).toBe(size)
  expect(`sha256:${hash.digest('hex')}`).toBe(digest)
  expect(
    upstream.requests({ method: 'GET', path: /\/blobs\// }).filter(({ path }) => path.endsWith(digest)),
  ).toHaveLength(1)
})

it('U9: a body that stalls half way is resumed by Range', async () => {
  const { cold } = scene.stage('stalling')
  expect(await stalling).toMatchObject({ status: 200, cut: false })
  expectResumed(scene.stage('stalling'), cold.layers[1]!.digest)
})

it('U8: a body that comes byte by byte is resumed by Range once it is too slow', async () => {
  const { cold } = scene.stage('slow')
  expect(await slow).toMatchObject({ status: 200, cut: false })
  expectResumed(scene.stage('slow'), cold.layers[1]!.digest)
  for (const name of ['impatient', 'stalling', 'slow']) await scene.expectInvariants(name)
})

it('all over, every tag is confirmed again with no hand', async () => {
  await scene.expectConfirmed(Object.keys(stages))
})

function expectResumed({ upstream }: Stage, digest: string): void {
  const ranges = upstream
    .requests({ method: 'GET', path: `/v2/app/blobs/${digest}` })
    .map(({ headers }) => String(headers.range ?? 'all'))
  expect(ranges).toEqual(['all', expect.stringMatching(/^bytes=[1-9]\d*-$/)])
}
