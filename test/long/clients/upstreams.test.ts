import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Cell, Client } from '../../rig/clients/client.ts'
import { openContainerd } from '../../rig/clients/containerd.ts'
import { openCrane } from '../../rig/clients/crane.ts'
import { closeAll } from '../../rig/clients/describe-clients.ts'
import { cellKey, committedCells, formatTable, writeSection, writing } from '../../rig/clients/page.ts'
import { openRegctl } from '../../rig/clients/regctl.ts'
import {
  largeLayerBytes,
  pushSample,
  readSample,
  type Sample,
  type SampleId,
  sampleTitles,
} from '../../rig/clients/samples.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type Headwater, startHeadwater } from '../../rig/headwater.ts'
import { registryStore } from '../../rig/image-store.ts'
import { type RegistryOptions, startRegistry } from '../../rig/registry.ts'
import { type Resource, registryResource, upstreamResources } from '../../rig/resources.ts'

const largeBytes = writing ? largeLayerBytes : 64 * 1024 * 1024
const images: readonly SampleId[] = ['oci-image', 'docker-image', 'oci-index', 'docker-list']
/** What each can pull of any upstream; its limits are the other table's. */
const tried: Readonly<Record<string, readonly SampleId[]>> = {
  'crane pull': [...images, 'referrers-by-tag', 'empty-layer', 'large-layer'],
  'ctr images pull': images,
  'regctl image copy --referrers': ['referrers-by-tag'],
}
const columns = tried['crane pull']!

type Flavour = Required<Pick<RegistryOptions, 'version' | 'auth' | 'tls'>> & {
  readonly name: string
  readonly title: string
}

const flavours = (['v3', 'v2'] as const).flatMap((version) =>
  (['none', 'basic', 'token'] as const).flatMap((auth) =>
    [false, true].map((tls): Flavour => {
      const who = { none: 'anonymous', basic: 'Basic', token: 'token' }[auth]
      const number = version === 'v3' ? 'v3.1.2' : '2.8.2'
      return {
        ...{
          version,
          auth,
          tls,
          name: `${version === 'v3' ? 'three' : 'two'}-${auth}-${tls ? 'tls' : 'plain'}`,
        },
        title: `${number}, ${who}, ${tls ? 'TLS' : 'plain'}`,
      }
    }),
  ),
)

/** Only the simplest and the hardest have the large layer, as it takes long to put it there. */
function has({ auth, tls }: Flavour, id: SampleId): boolean {
  return id !== 'large-layer' || (auth === 'none' && !tls) || (auth === 'token' && tls)
}

const cells = new Map<string, Cell>()

describeWithParts(
  ['registry', 'docker-registry', 'crane', 'regctl', 'containerd', 'ctr', 'htpasswd', 'openssl'],
  'through Headwater from',
  () => {
    const closing: (() => Promise<unknown>)[] = []
    const samples = new Map<SampleId, Sample>()
    const clients: Client[] = []
    let headwater: Headwater

    beforeAll(async () => {
      const resources: Resource[] = []
      for (const flavour of flavours) {
        const { version, auth, tls, name } = flavour
        const registry = await startRegistry({ version, auth, tls })
        closing.push(registry.close)
        for (const id of columns.filter((one) => has(flavour, one))) {
          await pushSample(registryStore(registry), id, { largeBytes })
        }
        const { url, username, password, authority, tokens } = registry
        resources.push(
          ...upstreamResources(name, {
            url,
            ...(username !== undefined && password !== undefined && { username, password }),
            ...(authority && { ca: authority.ca }),
            ...(tokens && { spec: { tokenServiceHosts: [tokens.host] } }),
          }),
          registryResource(name, [name]),
        )
      }
      for (const id of columns) samples.set(id, await readSample(id, { largeBytes }))
      headwater = await startHeadwater({ resources })
      closing.push(headwater.close)
      for (const open of [openCrane, () => openContainerd(), openRegctl]) {
        const client = await open()
        closing.push(client.close)
        clients.push(client)
      }
    }, 600_000)
    afterAll(() => closeAll(closing))

    describe.each(flavours)('$title', (flavour) => {
      // every other registry meets containerd first, so that both have pulls that nobody filled before
      const titles = Object.keys(tried)
      if (flavours.indexOf(flavour) % 2 === 1) titles.reverse()
      const table = titles.flatMap((title) =>
        tried[title]!.filter((id) => has(flavour, id)).map((id) => ({ title, id })),
      )
      it.each(table)(
        '$title gets what the upstream has: $id',
        { timeout: 300_000 },
        async ({ title, id }) => {
          const key = cellKey(`${flavour.title}: ${title}`, sampleTitles[id])
          cells.set(key, { verdict: 'red', why: 'the client failed' })
          const command = clients.flatMap(({ commands }) => commands).find((one) => one.title === title)!
          const place = { host: headwater.host, prefix: `default/${flavour.name}/` }
          const sample = samples.get(id)!
          const got = await command.get(place, sample)
          expect(got).toEqual(expect.arrayContaining([...(await command.wanted(sample, place))]))
          cells.set(key, { verdict: 'same' })
        },
      )
    })

    it.runIf(writing)('everything that was seen is written', async () => {
      const wanted = flavours.flatMap((flavour) =>
        Object.values(tried).flatMap((ids) => ids.filter((id) => has(flavour, id))),
      )
      expect(cells.size).toBe(wanted.length)
      expect([...cells].filter(([, { verdict }]) => verdict === 'red')).toEqual([])
      const rows = flavours.flatMap(({ title }) => Object.keys(tried).map((name) => `${title}: ${name}`))
      const titles = columns.map((id) => sampleTitles[id])
      await writeSection('upstreams', formatTable({ rows, columns: titles, cells }))
    })

    it('the committed table has nothing better than what was seen', async () => {
      const committed = await committedCells()
      expect([...cells].filter(([, { verdict }]) => verdict !== 'same')).toEqual([])
      expect([...cells.keys()].filter((key) => committed.get(key) !== '✓')).toEqual([])
    })
  },
)
