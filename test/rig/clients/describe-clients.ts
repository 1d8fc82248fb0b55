import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWithParts } from '../describe-with-parts.ts'
import { createFakeUpstream } from '../fake-upstream.ts'
import { type Headwater, startHeadwater } from '../headwater.ts'
import { contentStore, registryStore } from '../image-store.ts'
import type { PartName } from '../parts.ts'
import { startRegistry } from '../registry.ts'
import { registryResource, upstreamResources } from '../resources.ts'
import { type Cell, type Client, fillCell, type Place } from './client.ts'
import { openContainerd } from './containerd.ts'
import { openCrane } from './crane.ts'
import { openDocker } from './docker.ts'
import { cellKey } from './page.ts'
import { openPodman } from './podman.ts'
import { openRegctl } from './regctl.ts'
import { pushSample, readSample, type Sample, type SampleId, sampleTitles } from './samples.ts'
import { openSkopeo } from './skopeo.ts'

const clients: readonly {
  readonly name: string
  readonly parts: readonly PartName[]
  readonly open: () => Promise<Client>
  readonly commands: readonly string[]
}[] = [
  {
    name: 'crane',
    parts: ['crane'],
    open: openCrane,
    commands: ['crane pull', 'crane validate', 'crane digest', 'crane ls'],
  },
  {
    name: 'skopeo',
    parts: ['skopeo'],
    open: openSkopeo,
    commands: ['skopeo copy', 'skopeo inspect', 'skopeo inspect --raw', 'skopeo list-tags'],
  },
  {
    name: 'docker',
    parts: ['dockerd', 'docker'],
    open: openDocker,
    commands: ['docker pull', 'docker pull, as its registry-mirror'],
  },
  {
    name: 'podman',
    parts: ['podman'],
    open: openPodman,
    commands: ['podman pull', 'podman pull, as a mirror in registries.conf'],
  },
  {
    name: 'containerd',
    parts: ['containerd', 'ctr'],
    open: () => openContainerd(),
    commands: [
      'ctr images pull',
      'ctr images pull, hosts.toml with override_path and /v2/…',
      'ctr images pull, hosts.toml without',
      'ctr content fetch',
    ],
  },
  {
    name: 'regctl',
    parts: ['regctl'],
    open: openRegctl,
    commands: ['regctl image copy --referrers', 'regctl artifact list'],
  },
]

export const commandTitles = clients.flatMap(({ commands }) => commands)

/** What was seen: of every cell that was tried, and of every client that was there. */
export interface Seen {
  readonly cells: Map<string, Cell>
  readonly versions: Map<string, string>
}

/**
 * A test for every client's every command and image: through Headwater from a real registry, or where none has such
 * content from the fake one. Every client begins with an empty cache, so that its first command meets fills.
 */
export function describeClients(
  ids: readonly SampleId[],
  { largeBytes, only = () => true }: { largeBytes: number; only?: (command: string) => boolean },
): Seen {
  const seen: Seen = { cells: new Map(), versions: new Map() }
  const samples = new Map<SampleId, Sample>()
  const upstreams = new Map<SampleId, Place>()
  const urls: Record<string, string> = {}
  const closing: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    const registry = await startRegistry()
    closing.push(registry.close)
    const fake = await createFakeUpstream()
    closing.push(fake.close)
    Object.assign(urls, { real: registry.url, fake: fake.url })
    for (const id of ids) {
      const byFake = id === 'sha512' || id === 'referrers-by-api'
      await pushSample(byFake ? contentStore(fake.content) : registryStore(registry), id, { largeBytes })
      samples.set(id, await readSample(id, { largeBytes }))
      upstreams.set(id, { host: byFake ? fake.host : registry.host, prefix: '' })
    }
  }, 600_000)
  afterAll(() => closeAll(closing))

  for (const { name, parts, open, commands } of clients) {
    describeWithParts(['registry', ...parts], name, () => {
      const closing: (() => Promise<unknown>)[] = []
      let client: Client
      let headwater: Headwater
      beforeAll(async () => {
        headwater = await startHeadwater({ resources: resourcesFor(urls) })
        closing.push(headwater.close)
        client = await open()
        closing.push(client.close)
        seen.versions.set(name, client.version)
      })
      afterAll(() => closeAll(closing))

      const table = commands.filter(only).flatMap((title) => ids.map((id) => ({ title, id })))
      it.each(table)(
        '$title gets what the upstream has: $id',
        { timeout: 600_000 },
        async ({ title, id }) => {
          const command = client.commands.find((one) => one.title === title)
          if (!command) throw new Error(`there is no ${title}`)
          const through = command.hostOnly
            ? { host: headwater.host.replace('127.0.0.1', 'localhost'), prefix: '' }
            : { host: headwater.host, prefix: 'default/all/' }
          const cell = await fillCell(command, samples.get(id)!, { through, upstream: upstreams.get(id)! })
          seen.cells.set(cellKey(title, sampleTitles[id]), cell)
          if (cell.verdict === 'red') expect.fail(cell.why)
        },
      )
    })
  }
  return seen
}

/** Both upstreams behind one registry, at a path and at a host's root, and as mirrors of Docker Hub. */
function resourcesFor(urls: Readonly<Record<string, string>>) {
  const spec = { mirrorOf: ['docker.io'] }
  return [
    ...Object.entries(urls).flatMap(([name, url]) => upstreamResources(name, { url, spec })),
    registryResource('all', Object.keys(urls), { spec: { hosts: ['localhost'] } }),
  ]
}

/** In reverse, all of them, whatever one says. */
export async function closeAll(closing: readonly (() => Promise<unknown>)[]): Promise<void> {
  const failed: unknown[] = []
  for (const close of closing.toReversed()) await close().catch((error) => failed.push(error))
  if (failed.length > 0) throw failed[0]
}
