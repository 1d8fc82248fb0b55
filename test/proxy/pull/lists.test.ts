import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { nextPage } from '../../../proxy/pull/tag-lists.ts'
import { createFakeUpstream, type FakeUpstream, fault } from '../../rig/fake-upstream.ts'
import type { Fault } from '../../rig/fault.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushArtifact, pushImage } from '../../rig/images.ts'
import { createPullRig, type PullRig } from '../../rig/pull-rig.ts'

let first: FakeUpstream
let second: FakeUpstream
let rig: PullRig

async function build(referrersApi: boolean) {
  first = await createFakeUpstream({ referrersApi })
  second = await createFakeUpstream({ referrersApi })
  rig = await createPullRig(
    [
      { name: 'first', at: first },
      { name: 'second', at: second },
    ],
    [{ name: 'both', upstreams: ['first', 'second'] }],
  )
}

beforeEach(() => build(true))

afterEach(async () => {
  await rig.close()
  await first.close()
  await second.close()
})

describe('a list of tags', () => {
  async function pushTags(count: number) {
    const { manifest } = await pushImage(contentStore(second.content), 'app')
    for (let i = 0; i < count; i++)
      second.content.tag('app', `v${String(i).padStart(3, '0')}`, manifest.digest)
  }

  it('is the first upstream’s that knows the repository, under the name it was asked by', async () => {
    await pushTags(3)
    expect(await rig.tags('app')).toMatchObject({
      name: 'app',
      tags: ['v000', 'v001', 'v002'],
      next: undefined,
    })
  })

  it('comes in pages that lead from one to the next', async () => {
    await pushTags(25)
    const seen: string[] = []
    let query: string | undefined = 'n=10'
    for (let page = 0; query !== undefined && page < 10; page++) {
      const list: { tags: string[]; next: string | undefined } = await rig.tags('app', query)
      seen.push(...list.tags)
      query = list.next
    }
    expect(seen).toHaveLength(25)
    expect(new Set(seen).size).toBe(25)
    expect(first.requests()).toHaveLength(1)
  })

  it.each(['n=-1', 'n=abc', 'n=1.5', 'n=', 'n=0x10', 'n=1e3'])('C48: refuses %s', async (query) => {
    await pushTags(1)
    await expect(rig.tags('app', query)).rejects.toMatchObject({
      status: 400,
      code: 'PAGINATION_NUMBER_INVALID',
    })
  })

  it('C49: is empty when none are wanted', async () => {
    await pushTags(3)
    expect(await rig.tags('app', 'n=0')).toMatchObject({ tags: [], next: undefined })
  })

  it.each(['n=1000000000', 'n=9223372036854775808'])('C50: cuts %s to what is bearable', async (query) => {
    await pushTags(3)
    expect((await rig.tags('app', query)).tags).toHaveLength(3)
    expect(second.requests().at(-1)!.query.get('n')).toBe('10000')
  })

  it.each(['n=2&n=3', 'n[]=5', 'n[__proto__]=1'])('C51: bears %s', async (query) => {
    await pushTags(5)
    expect((await rig.tags('app', query)).tags.length).toBeGreaterThan(0)
  })

  it.each(['last=../../x', 'last=%00', `last=${'z'.repeat(10_240)}`, 'last=v001'])(
    'C52: bears %s',
    async (query) => {
      await pushTags(3)
      expect((await rig.tags('app', query)).tags.every((tag) => tag.startsWith('v'))).toBe(true)
    },
  )

  it('U45: keeps of a link to the next page nothing but its query', async () => {
    await pushTags(3)
    second.always(
      'GET',
      '/v2/app/tags/list',
      fault.headers({ link: '<https://evil.example/v2/x/tags/list?page=opaque%2Fx>; rel="next"' }),
    )
    const { next } = await rig.tags('app')
    expect(new URLSearchParams(next).get('page')).toBe('opaque/x')
    await rig.tags('app', next)
    expect(second.requests().at(-1)!.query.get('page')).toBe('opaque/x')
    expect(first.requests()).toHaveLength(1)
  })

  it.each([
    ['angle brackets', '<'],
    ['links that lead nowhere', '<a>;'],
  ])('U45: takes no time over a header of nothing but %s', (_name, part) => {
    const startedAt = performance.now()
    expect(nextPage(part.repeat(32_000 / part.length))).toBeUndefined()
    expect(performance.now() - startedAt).toBeLessThan(100)
  })

  it('U18: is refused when it has no end', async () => {
    await pushTags(1)
    second.always('GET', '/v2/app/tags/list', fault.endless())
    await expect(rig.tags('app')).rejects.toMatchObject({ status: 502 })
  })

  it.each(['not json', '"text"', '{"tags":5}'])('is refused when it is %s', async (body) => {
    first.always('GET', '/v2/app/tags/list', fault.body(body, 'application/json'))
    await expect(rig.tags('app')).rejects.toMatchObject({ status: 502 })
  })

  it('is not a lower upstream’s while the first is in trouble', async () => {
    await pushTags(3)
    first.always('*', '*', fault.status(503))
    await expect(rig.tags('app')).rejects.toMatchObject({ status: 503 })
  })
})

describe('referrers', () => {
  it('come from the API of the upstream that has the subject, filtered when asked for', async () => {
    const { subject, referrers } = await pushArtifact(contentStore(second.content), 'app', {
      tag: 'v1',
      byTagSchema: false,
    })
    const all = await rig.referrers('app', subject.manifest.digest)
    expect(all.manifests.map(({ digest }) => digest).sort()).toEqual(
      referrers.map(({ digest }) => digest).sort(),
    )
    const some = await rig.referrers(
      'app',
      subject.manifest.digest,
      'artifactType=application/vnd.example.sbom',
    )
    expect(some.manifests).toHaveLength(1)
    expect(some.filtersApplied).toBe('artifactType')
  })

  it('come from the tag schema where there is no API', async () => {
    await rig.close()
    await first.close()
    await second.close()
    await build(false)
    const { subject, referrers } = await pushArtifact(contentStore(second.content), 'app', {
      tag: 'v1',
      byTagSchema: true,
    })
    const { manifests } = await rig.referrers('app', subject.manifest.digest)
    expect(manifests).toHaveLength(referrers.length)
  })

  it('are cached as a tag is, and served when the upstream is gone', async () => {
    const { subject } = await pushArtifact(contentStore(second.content), 'app', {
      tag: 'v1',
      byTagSchema: false,
    })
    await rig.referrers('app', subject.manifest.digest)
    second.forgetRequests()
    await rig.referrers('app', subject.manifest.digest)
    expect(second.requests()).toHaveLength(0)
    await rig.restart()
    await second.stop()
    rig.advance(61)
    const stale = await rig.referrers('app', subject.manifest.digest)
    expect(stale.manifests).toHaveLength(2)
    expect(stale.warning).toMatch(/cached/)
  })

  it.each<[string, Fault]>([
    ['U3: never answers', fault.hang()],
    ['U4: answers 500', fault.status(500)],
    ['U22: answers 401', fault.status(401)],
    ['U26: answers 403', fault.status(403)],
    ['U28: answers 404', fault.status(404)],
    ['U29: answers 429', fault.tooManyRequests('7')],
    ['U20: answers with a web page', fault.body('<html>', 'text/html')],
  ])('are served from the cache while their upstream %s, soon, and then unasked', async (_name, outage) => {
    const { subject } = await pushArtifact(contentStore(second.content), 'app', {
      tag: 'v1',
      byTagSchema: false,
    })
    await rig.manifest('app', 'v1')
    await rig.referrers('app', subject.manifest.digest)
    rig.advance(61)
    second.always('*', /./, outage)
    const startedAt = performance.now()
    const stale = await rig.referrers('app', subject.manifest.digest)
    expect(performance.now() - startedAt).toBeLessThan(3_000)
    expect(stale.manifests).toHaveLength(2)
    expect(stale.warning).toMatch(/cached/)
    expect(stale.story).toMatchObject({ outcome: 'stale-served', upstream: 'default/second' })

    const asked = second.requests().length
    expect((await rig.referrers('app', subject.manifest.digest)).warning).toMatch(/cached/)
    expect(second.requests()).toHaveLength(asked)

    await second.heal()
    rig.advance(61)
    expect((await rig.referrers('app', subject.manifest.digest)).story.outcome).toBe('revalidated')
  })

  it('are checked once for all who ask, and not written again when they are what they were', async () => {
    const { subject } = await pushArtifact(contentStore(second.content), 'app', {
      tag: 'v1',
      byTagSchema: false,
    })
    await rig.referrers('app', subject.manifest.digest)
    await rig.restart()
    const before = await documentsOf(rig.folder)
    rig.advance(61)
    second.forgetRequests()
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => rig.referrers('app', subject.manifest.digest)),
    )
    expect(new Set(answers.map(({ story }) => story.outcome))).toEqual(new Set(['revalidated']))
    expect(second.requests()).toHaveLength(1)
    expect((await rig.referrers('app', subject.manifest.digest)).story.outcome).toBe('hit')
    await rig.restart()
    expect(await documentsOf(rig.folder)).toEqual(before)
    expect(before).toHaveLength(1)
  })

  it('are none any more when their upstream lists none', async () => {
    const { subject, referrers } = await pushArtifact(contentStore(second.content), 'app', {
      tag: 'v1',
      byTagSchema: false,
    })
    await rig.referrers('app', subject.manifest.digest)
    for (const { digest } of referrers) second.content.remove('app', digest)
    rig.advance(61)
    const { manifests, warning } = await rig.referrers('app', subject.manifest.digest)
    expect({ manifests, warning }).toEqual({ manifests: [], warning: undefined })
  })

  it('are those of the upstream that had them last, whoever had none before', async () => {
    const { subject } = await pushArtifact(contentStore(second.content), 'app', {
      tag: 'v1',
      byTagSchema: false,
    })
    const list = `/v2/app/referrers/${subject.manifest.digest}`
    second.next('GET', list, fault.json({ manifests: [] }))
    second.next('GET', list, fault.body('{"manifests":[]}', 'application/vnd.oci.image.index.v1+json'))
    expect((await rig.referrers('app', subject.manifest.digest)).manifests).toEqual([])
    rig.advance(61)
    await second.heal()
    expect((await rig.referrers('app', subject.manifest.digest)).manifests).toHaveLength(2)

    for (const upstream of [first, second]) upstream.forgetRequests()
    expect((await rig.referrers('app', subject.manifest.digest)).story.outcome).toBe('hit')
    expect([...first.requests(), ...second.requests()]).toEqual([])
    await rig.restart()
    for (const upstream of [first, second]) await upstream.stop()
    rig.advance(61)
    expect((await rig.referrers('app', subject.manifest.digest)).manifests).toHaveLength(2)
  })

  it('C56: are none for what nobody knows', async () => {
    expect((await rig.referrers('app', `sha256:${'0'.repeat(64)}`)).manifests).toEqual([])
  })

  it('are not none because an upstream is in trouble', async () => {
    first.always('*', '*', fault.status(500))
    await expect(rig.referrers('app', `sha256:${'0'.repeat(64)}`)).rejects.toMatchObject({ status: 503 })
  })

  it('U45: are read over a bounded number of pages', async () => {
    const link = { link: '</v2/app/referrers/x?page=2>; rel="next"' }
    const page = fault.all(
      fault.body('{"manifests":[{}]}', 'application/vnd.oci.image.index.v1+json'),
      fault.headers(link),
    )
    first.always('GET', '/v2/app/referrers/*', page)
    await rig.referrers('app', `sha256:${'0'.repeat(64)}`)
    expect(first.requests().length).toBeLessThan(25)
  })
})

/** With what changes when they are written again. */
async function documentsOf(folder: string): Promise<string[]> {
  const entries = await readdir(join(folder, 'documents'), { recursive: true, withFileTypes: true })
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
  return Promise.all(paths.sort().map(async (path) => `${path} ${(await stat(path)).ino}`))
}
