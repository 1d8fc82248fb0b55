import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { isDigest } from '../../../proxy/oci/digest.ts'
import { type Asking, ask } from '../../rig/asking.ts'
import { createFakeUpstream, type FakeUpstream, fault } from '../../rig/fake-upstream.ts'
import { type Fault, setBody } from '../../rig/fault.ts'
import { type Headwater, startHeadwater } from '../../rig/headwater.ts'
import { expectScrubbed } from '../../rig/invariants.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'

/** Of the victim's bytes, all over them. */
const marker = 'only-for-the-victim'
const marked = (size: number) => Buffer.from(marker.repeat(Math.ceil(size / marker.length)).slice(0, size))
const ownByte = 'x'.charCodeAt(0)
const imageType = 'application/vnd.oci.image.manifest.v1+json'

interface Content {
  readonly manifest: Digest
  readonly sizes: ReadonlyMap<string, number>
  readonly paths: readonly string[]
}

/** How a tenant's own upstream might try to be given what it does not have. */
const tricks: Readonly<Record<string, (content: () => Content) => Fault>> = {
  'says no to everything': () => fault.status(404),
  'answers 200 with bytes of its own': (content) => yes(content, (size) => Buffer.alloc(size, ownByte)),
  'answers 200 with nothing': (content) => yes(content, () => Buffer.alloc(0)),
  'answers 200 with a part of the right length': (content) =>
    yes(content, (size) => Buffer.alloc(size - 1, ownByte)),
  'answers 200 to HEAD and then hides': (content) => async (reply, request) => {
    await (request.method === 'HEAD' ? yes(content, (size) => Buffer.alloc(size)) : fault.status(403))(
      reply,
      request,
    )
  },
  'answers 200 to HEAD and then cuts': (content) => async (reply, request) => {
    await yes(content, (size) => Buffer.alloc(size, ownByte))(reply, request)
    if (request.method === 'GET') await fault.cut(5)(reply, request)
  },
  'answers 304 to everything': () => fault.status(304, { body: '' }),
  'answers 206 to everything': (content) => async (reply, request) => {
    await yes(content, (size) => Buffer.alloc(size, ownByte))(reply, request)
    await fault.partial('bytes 0-9/10')(reply, request)
  },
}

const requests: Readonly<Record<string, Asking>> = {
  GET: {},
  HEAD: { method: 'HEAD' },
  'the first byte': { headers: { range: 'bytes=0-0' } },
  'all from a byte on': { headers: { range: 'bytes=5-' } },
  'the last bytes': { headers: { range: 'bytes=-10' } },
  'GET unless it is unchanged': { headers: { 'if-none-match': '"theirs"' } },
  'GET unless there is any': { headers: { 'if-none-match': '*' } },
}

let victim: FakeUpstream
let headwater: Headwater
let content: Content
const tenants: { readonly what: string; readonly name: string; readonly upstream: FakeUpstream }[] = []

/** As a registry that has everything would: type, length and digest as asked for, for a tag the victim's. */
function yes(about: () => Content, bytes: (size: number) => Buffer): Fault {
  return (reply, { method, path }) => {
    const last = path.split('/').at(-1) ?? ''
    const digest = isDigest(last) ? last : about().manifest
    const size = about().sizes.get(digest) ?? 10
    reply.status = 200
    setBody(reply, bytes(size))
    if (method === 'HEAD') reply.headers['content-length'] = String(size)
    reply.headers['content-type'] = path.includes('/manifests/') ? imageType : 'application/octet-stream'
    reply.headers['docker-content-digest'] = digest
  }
}

beforeAll(async () => {
  victim = await createFakeUpstream({
    auth: { kind: 'token', username: 'victim', password: 'canary-victim' },
  })
  content = fillVictim()
  for (const [number, [what, trick]] of Object.entries(tricks).entries()) {
    const upstream = await createFakeUpstream()
    upstream.always(
      '*',
      '*',
      trick(() => content),
    )
    tenants.push({ what, name: `tenant-${number}`, upstream })
  }
  const login = { username: 'victim', password: 'canary-victim' }
  headwater = await startHeadwater({
    resources: [
      ...upstreamResources('victim', { url: victim.url, ...login }),
      registryResource('victim', ['victim']),
      // the same origin, asked by nobody in particular
      ...upstreamResources('anonymous', { url: victim.url }),
      registryResource('anonymous', ['anonymous']),
      ...tenants.flatMap(({ name, upstream }) => [
        ...upstreamResources(name, { url: upstream.url }),
        registryResource(name, [name]),
      ]),
    ],
  })
  for (const path of content.paths)
    expect((await ask(headwater, `/v2/default/victim/${path}`)).status).toBe(200)
})

afterAll(async () => {
  await expectScrubbed(headwater.data)
  await headwater.close()
  for (const { upstream } of [...tenants, { upstream: victim }]) await upstream.close()
})

function fillVictim(): Content {
  const { content: store } = victim
  const config = store.putBlob('app', marked(2_000))
  const layers = [store.putBlob('app', marked(30_000)), store.putBlob('app', marked(2_000_000))]
  const body = { schemaVersion: 2, mediaType: imageType, config, layers, annotations: { marker } }
  const manifest = store.putManifest('app', body, { mediaType: imageType, tag: 'v1' })
  const blobs = [config, ...layers]
  return {
    manifest: manifest.digest,
    sizes: new Map([manifest, ...blobs].map(({ digest, size }) => [digest, size])),
    paths: [
      ...['app/manifests/v1', `app/manifests/${manifest.digest}`],
      ...blobs.map(({ digest }) => `app/blobs/${digest}`),
    ],
  }
}

async function expectNothingOfTheVictim(registry: string): Promise<void> {
  const asked = content.paths.flatMap((path) =>
    Object.entries(requests).map(async ([what, asking]) => {
      const { body, status, cut } = await ask(headwater, `/v2/default/${registry}/${path}`, asking)
      const shown = `${what} of ${path}: ${status} with ${body.length} bytes`
      expect(body.includes(marker.slice(0, 8)), shown).toBe(false)
      // a part may come of what the tenant's own upstream sends, before all of it turns out to be wrong
      if (status === 206)
        expect(
          body.every((byte) => byte === ownByte || byte === 0),
          shown,
        ).toBe(true)
      else expect(asking.method !== 'HEAD' && status === 200 && !cut, shown).toBe(false)
    }),
  )
  await Promise.all(asked)
}

describe('two registries over one store', () => {
  it.each(Object.keys(tricks))('never read each other’s bytes where the upstream of one %s', async (what) => {
    const { name } = tenants.find((tenant) => tenant.what === what)!
    await expectNothingOfTheVictim(name)
    // once more: nothing of the first round gave a right
    await expectNothingOfTheVictim(name)
  })

  it('never do over the same origin either, where one account may not', async () => {
    await expectNothingOfTheVictim('anonymous')
  })

  it('never join a transfer that is not their own', async () => {
    const bytes = marked(3_000_000)
    const { digest } = victim.content.putBlob('app', bytes)
    victim.always('GET', `/v2/app/blobs/${digest}`, fault.slow(3_000_000))
    const own = ask(headwater, `/v2/default/victim/app/blobs/${digest}`)
    await expect
      .poll(() => headwater.metric('headwater_fills_in_progress'), { interval: 20 })
      .toBeGreaterThan(0)
    const others = ['anonymous', ...tenants.map(({ name }) => name)].flatMap((registry) =>
      Object.values(requests).map(async (asking) => {
        const path = `/v2/default/${registry}/app/blobs/${digest}`
        expect((await ask(headwater, path, asking)).body.includes(marker.slice(0, 8)), registry).toBe(false)
      }),
    )
    await Promise.all(others)
    expect((await own).body.equals(bytes)).toBe(true)
  })

  it('leave the victim’s as they were', async () => {
    for (const path of content.paths) {
      expect(await ask(headwater, `/v2/default/victim/${path}`)).toMatchObject({ status: 200, cut: false })
    }
  })
})
