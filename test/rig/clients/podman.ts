import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { temporaryFolder } from '../headwater.ts'
import { needPart } from '../parts.ts'
import { mustRun } from '../process.ts'
import { type Client, nameAt, type Place, referencesTo } from './client.ts'
import { hashFiles, removeWithMounts } from './files.ts'
import { runClient } from './run-client.ts'
import type { Sample } from './samples.ts'

export async function openPodman(): Promise<Client> {
  const folder = await temporaryFolder()
  const at = (name: string) => join(folder, name)
  const registries = at('registries.conf')
  const own = [
    ...['--root', at('root'), '--runroot', at('run'), '--tmpdir', at('tmp'), '--storage-driver', 'vfs'],
    ...['--events-backend', 'none', '--cgroup-manager', 'cgroupfs'],
  ]
  const env = { HOME: folder, CONTAINERS_REGISTRIES_CONF: registries, TMPDIR: folder }
  const podman = (...args: string[]) => runClient(needPart('podman'), [...own, ...args], { env })
  const version = (await podman('--version')).trim().replace(' version', '')

  /** Manifests and configurations are kept as they came; layers unpacked, saved again as the archives they were. */
  const pull = async (name: string, sample: Sample): Promise<string[]> => {
    const saved = at('saved')
    try {
      const got: string[] = []
      for (const reference of referencesTo(sample)) {
        await podman('pull', '--quiet', '--tls-verify=false', `${name}${reference}`)
        await podman(
          'save',
          '--quiet',
          '--format',
          'docker-archive',
          '-o',
          at('saved.tar'),
          `${name}${reference}`,
        )
        await mkdir(saved)
        await mustRun('tar', ['-xf', at('saved.tar'), '-C', saved])
        got.push(...(await hashFiles(saved)), ...(await hashFiles(at('root/vfs-images'))))
        await rm(saved, { recursive: true })
        await rm(at('saved.tar'))
      }
      return got
    } finally {
      await rm(saved, { recursive: true, force: true })
      await rm(at('saved.tar'), { force: true })
      await podman('rmi', '--all', '--force')
    }
  }
  const useMirror = ({ host, prefix }: Place): Promise<void> =>
    writeFile(
      registries,
      [
        '[[registry]]',
        'prefix = "docker.io"',
        'location = "127.0.0.1:1"',
        '[[registry.mirror]]',
        `location = "${host}${prefix && `/${prefix.slice(0, -1)}`}"`,
        'insecure = true',
        '',
      ].join('\n'),
    )

  return {
    version,
    commands: [
      {
        title: 'podman pull',
        wanted: ({ unpacked }) => unpacked,
        async get(place, sample) {
          await writeFile(registries, '')
          return pull(nameAt(place, sample), sample)
        },
      },
      {
        title: 'podman pull, as a mirror in registries.conf',
        wanted: ({ unpacked }) => unpacked,
        async get(place, sample) {
          await useMirror(place)
          return pull(`docker.io/${sample.repository}`, sample)
        },
      },
    ],
    close: () => removeWithMounts(folder),
  }
}
