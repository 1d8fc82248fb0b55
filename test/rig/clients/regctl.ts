import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { temporaryFolder } from '../headwater.ts'
import { needPart } from '../parts.ts'
import { type Client, nameAt } from './client.ts'
import { hashFiles } from './files.ts'
import { runClient } from './run-client.ts'

/** Not one that people must have, but it speaks what the others do not: sha512 and the referrers API. */
export async function openRegctl(): Promise<Client> {
  const folder = await temporaryFolder()
  const regctl = (...args: string[]) =>
    runClient(needPart('regctl'), args, { env: { REGCTL_CONFIG: join(folder, 'config.json') } })
  const version = /VCSTag: +(?<tag>\S+)/.exec(await regctl('version'))?.groups?.tag

  return {
    version: `regctl ${version}`,
    commands: [
      {
        title: 'regctl image copy --referrers',
        wanted: ({ all }) => all,
        async get(place, sample) {
          const layout = join(folder, 'layout')
          try {
            const source = `${nameAt(place, sample)}:${sample.tag}`
            const plain = ['--host', `reg=${place.host},tls=disabled`]
            await regctl(...plain, 'image', 'copy', '--referrers', source, `ocidir://${layout}:one`)
            return await hashFiles(layout, sample.algorithm)
          } finally {
            await rm(layout, { recursive: true, force: true })
          }
        },
      },
      {
        title: 'regctl artifact list',
        wanted: ({ top, referrers }) => [top, ...referrers].map(({ digest }) => digest),
        async get(place, sample) {
          const name = `${nameAt(place, sample)}:${sample.tag}`
          const plain = ['--host', `reg=${place.host},tls=disabled`]
          const said = await regctl(...plain, 'artifact', 'list', '--format', '{{json .}}', name)
          const { subject, descriptors } = JSON.parse(said) as {
            subject: { Digest: string }
            descriptors: { digest: string }[] | null
          }
          return [subject.Digest, ...(descriptors ?? []).map(({ digest }) => digest)]
        },
      },
    ],
    close: () => rm(folder, { recursive: true, force: true }),
  }
}
