import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { temporaryFolder } from '../headwater.ts'
import { needPart } from '../parts.ts'
import { mustRun, startProcess } from '../process.ts'
import { type Client, type Command, nameAt, type Place, referencesTo } from './client.ts'
import { hashFiles, removeWithMounts } from './files.ts'
import { runClient } from './run-client.ts'
import type { Sample } from './samples.ts'

const unused = ['grpc.v1.cri', 'internal.v1.opt', 'snapshotter.v1.btrfs', 'snapshotter.v1.zfs']

/** A containerd of its own, and `ctr` for it. Images of `mirrored` are those it asks the mirrors for. */
export async function openContainerd({ mirrored = 'docker.io' } = {}): Promise<Client> {
  const folder = await temporaryFolder()
  const at = (name: string) => join(folder, name)
  await writeFile(
    at('config.toml'),
    [
      'version = 2',
      `root = "${at('root')}"`,
      `state = "${at('state')}"`,
      `disabled_plugins = ${JSON.stringify(unused.map((name) => `io.containerd.${name}`))}`,
      `[grpc]\naddress = "${at('socket')}"`,
      `[ttrpc]\naddress = "${at('socket.ttrpc')}"`,
      '',
    ].join('\n'),
  )
  const daemon = await startProcess({
    command: needPart('containerd'),
    args: ['--config', at('config.toml')],
    ready: /containerd successfully booted/,
  }).catch(async (error) => {
    await removeWithMounts(folder)
    throw error
  })
  const said = /(?:^|\n)ctr: (?<what>[^\n]+)/
  const ctr = (...args: string[]) =>
    runClient(needPart('ctr'), ['--address', at('socket'), '--namespace', 'test', ...args], { said })
  const [, , version] = (await mustRun(needPart('containerd'), ['--version'])).trim().split(/\s+/)
  const blobs = at('root/io.containerd.content.v1.content/blobs')

  const listed = async (kind: string): Promise<string[]> =>
    (await ctr(kind, 'ls', '-q')).split('\n').filter((one) => one !== '')

  /** Its content store has everything as it came. */
  const stored = async (sample: Sample, words: readonly string[], name: string): Promise<string[]> => {
    try {
      for (const reference of referencesTo(sample)) await ctr(...words, `${name}${reference}`)
      return await hashFiles(blobs, sample.algorithm)
    } finally {
      const images = await listed('images')
      if (images.length > 0) await ctr('images', 'rm', '--sync', ...images)
      const left = await listed('content')
      if (left.length > 0) await ctr('content', 'rm', ...left)
    }
  }
  const pull = ['images', 'pull', '--snapshotter', 'native']

  const mirror = (title: string, hostOf: (place: Place) => string): Command => ({
    title,
    wanted: ({ platform }) => platform,
    async get(place, sample) {
      await mkdir(at(`hosts/${mirrored}`), { recursive: true })
      const hosts = `server = "http://127.0.0.1:1"\n${hostOf(place)}\ncapabilities = ["pull", "resolve"]\n`
      await writeFile(at(`hosts/${mirrored}/hosts.toml`), hosts)
      return stored(sample, [...pull, '--hosts-dir', at('hosts')], `${mirrored}/${sample.repository}`)
    },
  })

  return {
    version: `containerd ${version}`,
    commands: [
      {
        title: 'ctr images pull',
        wanted: ({ platform }) => platform,
        get: (place, sample) => stored(sample, [...pull, '--plain-http'], nameAt(place, sample)),
      },
      mirror(
        'ctr images pull, hosts.toml with override_path and /v2/…',
        ({ host, prefix }) =>
          `[host."http://${host}/v2${prefix && `/${prefix.slice(0, -1)}`}"]\noverride_path = true`,
      ),
      mirror('ctr images pull, hosts.toml without', ({ host, prefix }) => {
        return `[host."http://${host}${prefix && `/${prefix.slice(0, -1)}`}"]`
      }),
      {
        title: 'ctr content fetch',
        wanted: ({ platform, all, referrers }) => (referrers.length > 0 ? all : platform),
        get: (place, sample) => stored(sample, ['content', 'fetch', '--plain-http'], nameAt(place, sample)),
      },
    ],
    async close() {
      await daemon.stop(30_000)
      await removeWithMounts(folder)
    },
  }
}
