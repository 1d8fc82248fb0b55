import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { temporaryFolder } from '../headwater.ts'
import { needPart } from '../parts.ts'
import { type Client, nameAt, type Place, referencesTo } from './client.ts'
import { hashFiles } from './files.ts'
import { runClient } from './run-client.ts'
import type { Sample } from './samples.ts'

export async function openCrane(): Promise<Client> {
  const folder = await temporaryFolder()
  // the last line of what it says may tell of one layer of many, as they come
  const said = /(?:^|\n)Error: (?<what>[^\n]+)/
  const crane = (...args: string[]) =>
    runClient(needPart('crane'), args, { said, env: { DOCKER_CONFIG: folder } })
  const version = (await crane('version')).trim()
  const each = async (place: Place, sample: Sample, work: (name: string) => Promise<string>) => {
    const said: string[] = []
    for (const reference of referencesTo(sample))
      said.push(await work(`${nameAt(place, sample)}${reference}`))
    return said
  }

  return {
    version: `crane ${version}`,
    commands: [
      {
        title: 'crane pull',
        wanted: ({ all, schema }) => (schema ? [...all, schema.digest] : all),
        async get(place, sample) {
          const layout = join(folder, 'layout')
          try {
            const pull = (name: string) => crane('pull', '--format', 'oci', name, layout)
            await each(place, sample, pull)
            if (sample.schema) await pull(`${nameAt(place, sample)}:${sample.schema.tag}`)
            return await hashFiles(layout, sample.algorithm)
          } finally {
            await rm(layout, { recursive: true, force: true })
          }
        },
      },
      {
        title: 'crane validate',
        wanted: () => ['PASS'],
        async get(place, sample) {
          const said = await each(place, sample, (name) => crane('validate', '--remote', name))
          return said.every((one) => one.startsWith('PASS')) ? ['PASS'] : said
        },
      },
      {
        title: 'crane digest',
        wanted: ({ top, referrers }) => [top, ...referrers].map(({ digest }) => digest),
        get: async (place, sample) =>
          (await each(place, sample, (name) => crane('digest', name))).map((one) => one.trim()),
      },
      {
        title: 'crane ls',
        wanted: ({ tags }) => [tags.toSorted().join(' ')],
        get: async (place, sample) => [
          (await crane('ls', nameAt(place, sample))).trim().split('\n').sort().join(' '),
        ],
      },
    ],
    close: () => rm(folder, { recursive: true, force: true }),
  }
}
