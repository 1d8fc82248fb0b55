import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { temporaryFolder } from '../headwater.ts'
import { needPart } from '../parts.ts'
import { type Client, nameAt, type Place, referencesTo } from './client.ts'
import { hashFiles } from './files.ts'
import { runClient } from './run-client.ts'
import type { Sample } from './samples.ts'

export async function openSkopeo(): Promise<Client> {
  const folder = await temporaryFolder()
  const skopeo = (...args: string[]) =>
    runClient(needPart('skopeo'), ['--insecure-policy', '--tmpdir', folder, ...args])
  const version = (await skopeo('--version')).trim().replace(' version', '')

  const inspect = async (place: Place, sample: Sample): Promise<string[]> => {
    const said: string[] = []
    for (const reference of referencesTo(sample)) {
      const name = `docker://${nameAt(place, sample)}${reference}`
      const { Name, ...rest } = JSON.parse(await skopeo('inspect', '--tls-verify=false', name)) as {
        Name: string
      }
      said.push(JSON.stringify(rest))
    }
    return said
  }

  return {
    version,
    commands: [
      {
        title: 'skopeo copy',
        wanted: ({ all }) => all,
        async get(place, sample) {
          const target = join(folder, 'copy')
          try {
            for (const [number, reference] of referencesTo(sample).entries()) {
              const source = `docker://${nameAt(place, sample)}${reference}`
              await mkdir(join(target, `${number}`), { recursive: true })
              await skopeo(
                ...['copy', '--all', '--preserve-digests', '--src-tls-verify=false'],
                ...[source, `dir:${join(target, `${number}`)}`],
              )
            }
            return await hashFiles(target, sample.algorithm)
          } finally {
            await rm(target, { recursive: true, force: true })
          }
        },
      },
      { title: 'skopeo inspect', wanted: (sample, upstream) => inspect(upstream, sample), get: inspect },
      {
        title: 'skopeo inspect --raw',
        wanted: ({ top, referrers, schema }) =>
          [top, ...referrers, ...(schema ? [schema] : [])].map(({ digest }) => digest),
        async get(place, sample) {
          const references = [...referencesTo(sample), ...(sample.schema ? [`:${sample.schema.tag}`] : [])]
          const digests: string[] = []
          for (const reference of references) {
            const name = `docker://${nameAt(place, sample)}${reference}`
            const said = await skopeo('inspect', '--raw', '--tls-verify=false', name)
            digests.push(digestOf(Buffer.from(said), sample.algorithm))
          }
          return digests
        },
      },
      {
        title: 'skopeo list-tags',
        wanted: ({ tags }) => [tags.toSorted().join(' ')],
        async get(place, sample) {
          const said = await skopeo('list-tags', '--tls-verify=false', `docker://${nameAt(place, sample)}`)
          return [(JSON.parse(said) as { Tags: string[] }).Tags.sort().join(' ')]
        },
      },
    ],
    close: () => rm(folder, { recursive: true, force: true }),
  }
}
