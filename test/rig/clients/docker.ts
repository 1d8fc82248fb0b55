import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { temporaryFolder } from '../headwater.ts'
import { needPart } from '../parts.ts'
import { mustRun, startProcess } from '../process.ts'
import { type Client, nameAt, type Place, referencesTo } from './client.ts'
import { hashFiles, removeWithMounts } from './files.ts'
import { runClient } from './run-client.ts'
import type { Sample } from './samples.ts'

/** An engine of its own: it shares neither store, socket nor network rules with the machine's. */
export async function openDocker(): Promise<Client> {
  const folder = await temporaryFolder()
  const configFile = join(folder, 'daemon.json')
  await writeFile(configFile, '{}')
  const host = `unix://${join(folder, 'socket')}`
  const cleanUp = async (): Promise<void> => {
    await stopLeftover(join(folder, 'exec/containerd/containerd.pid'))
    await removeWithMounts(folder)
  }
  const daemon = await startProcess({
    command: needPart('dockerd'),
    args: [
      ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec'), '-H', host],
      ...['--pidfile', join(folder, 'pid'), '--config-file', configFile, '--storage-driver', 'vfs'],
      ...['--iptables=false', '--bridge=none'],
    ],
    ready: /API listen on/,
  }).catch(async (error) => {
    await cleanUp()
    throw error
  })
  const env = { DOCKER_HOST: host, DOCKER_CONFIG: folder, DOCKER_CONTEXT: undefined }
  const said = /(?:^|\n)(?:Error response from daemon: )?(?<what>[^\n]+)\s*$/
  const docker = (...args: string[]) => runClient(needPart('docker'), args, { env, said })
  const engine = / version (?<version>[^\s,]+)/.exec(await mustRun(needPart('dockerd'), ['--version']))

  let mirror = ''
  /** The engine takes other mirrors on SIGHUP. */
  const useMirror = async (url: string): Promise<void> => {
    if (mirror === url) return
    const before = daemon.log().length
    await writeFile(configFile, JSON.stringify({ 'registry-mirrors': [url] }))
    daemon.signal('SIGHUP')
    for (let tries = 0; !daemon.log().slice(before).includes('Reloaded configuration'); tries++) {
      if (tries === 500) throw new Error(`the engine took no mirror:\n${daemon.log().slice(before)}`)
      await sleep(20)
    }
    mirror = url
  }

  /** Layers are kept unpacked; what is saved again has the archives as they were. */
  const pull = async (name: string, sample: Sample): Promise<string[]> => {
    const saved = join(folder, 'saved')
    const pulled: string[] = []
    const got: string[] = []
    try {
      for (const reference of referencesTo(sample)) {
        await docker('pull', '--quiet', `${name}${reference}`)
        pulled.push(`${name}${reference}`)
      }
      await mkdir(saved)
      for (const one of pulled) {
        const inspected = JSON.parse(await docker('image', 'inspect', one)) as [ImageInspect]
        const [{ RepoDigests, RootFS }] = inspected
        got.push(...RepoDigests.map((digest) => digest.replace(/^.*@/, '')))
        got.push(...(RootFS.Layers ?? []).filter((digest) => digest === emptyArchive))
        await docker('save', '-o', join(folder, 'saved.tar'), one)
        await mustRun('tar', ['-xf', join(folder, 'saved.tar'), '-C', saved])
        got.push(...(await hashFiles(saved)))
      }
      return got
    } finally {
      if (pulled.length > 0) await docker('image', 'rm', '--force', ...pulled)
      await rm(saved, { recursive: true, force: true })
      await rm(join(folder, 'saved.tar'), { force: true })
    }
  }

  return {
    version: `docker engine ${engine?.groups?.version}`,
    commands: [
      {
        title: 'docker pull',
        wanted: ({ unpacked }) => unpacked,
        get: (place, sample) => pull(nameAt(place, sample), sample),
      },
      {
        title: 'docker pull, as its registry-mirror',
        hostOnly: true,
        wanted: ({ unpacked }) => unpacked,
        async get(place: Place, sample) {
          await useMirror(`http://${place.host}`)
          return pull(sample.repository, sample)
        },
      },
    ],
    async close() {
      await daemon.stop(30_000)
      await cleanUp()
    },
  }
}

/** No bytes at all: what is saved of such a layer is an archive with an end. */
const emptyArchive = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

interface ImageInspect {
  readonly RepoDigests: readonly string[]
  readonly RootFS: { readonly Layers?: readonly string[] }
}

/** The containerd that an engine started stays where the engine was killed. */
async function stopLeftover(pidFile: string): Promise<void> {
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''))
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  if (pid > 0 && command.includes('containerd')) process.kill(pid, 'SIGKILL')
}
