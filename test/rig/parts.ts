import { accessSync, constants } from 'node:fs'
import { mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { mustRun, run } from './process.ts'

/** A real program that tests use, and where it comes from by itself. */
type Origin =
  | {
      readonly go: string
      readonly version: string
      readonly says: readonly string[]
      readonly ldflags?: string
    }
  | { readonly debian: string }

const origins = {
  registry: {
    go: 'github.com/distribution/distribution/v3/cmd/registry',
    version: 'v3.1.2',
    says: ['--version'],
  },
  crane: { go: 'github.com/google/go-containerregistry/cmd/crane', version: 'v0.22.1', says: ['version'] },
  regctl: { go: 'github.com/regclient/regclient/cmd/regctl', version: 'v0.9.2', says: ['version'] },
  versitygw: {
    go: 'github.com/versity/versitygw/cmd/versitygw',
    version: 'v1.8.0',
    says: ['--version'],
    ldflags: '-X main.Version=v1.8.0',
  },
  'docker-registry': { debian: 'docker-registry' },
  'redis-server': { debian: 'redis-server' },
  skopeo: { debian: 'skopeo' },
  podman: { debian: 'podman' },
  dockerd: { debian: 'docker.io' },
  docker: { debian: 'docker.io' },
  containerd: { debian: 'containerd' },
  ctr: { debian: 'containerd' },
  runc: { debian: 'runc' },
  iptables: { debian: 'iptables' },
  wrk: { debian: 'wrk' },
  nginx: { debian: 'nginx-light' },
  strace: { debian: 'strace' },
  htpasswd: { debian: 'apache2-utils' },
  openssl: { debian: 'openssl' },
} as const satisfies Record<string, Origin>

export type PartName = keyof typeof origins
export const partNames = Object.keys(origins) as readonly PartName[]

/** Where Go programs are kept between checkouts: outside of them, so that a fresh clone finds them. */
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'headwater')
const goBin = join(cache, 'go-bin')

/** The path of a program; undefined where the machine does not have it. Installs nothing. */
export function part(name: PartName): string | undefined {
  if ('go' in origins[name]) return executable(join(goBin, name))
  return onPath(name)
}

/** As `part`, for tests that are only run where it is there. */
export function needPart(name: PartName): string {
  const path = part(name)
  if (path === undefined) throw new Error(`${name} is missing: ${reasonFor(name)}`)
  return path
}

export interface MissingPart {
  readonly name: PartName
  readonly reason: string
}

export function missingParts(names: readonly PartName[] = partNames): MissingPart[] {
  return names.filter((name) => part(name) === undefined).map((name) => ({ name, reason: reasonFor(name) }))
}

/**
 * Installs what is not there: Go programs into the cache, Debian's packages where that is permitted. One process at a
 * time; what cannot be had is left out. Says what it does through `say`.
 */
export async function ensureParts(say: (line: string) => void): Promise<MissingPart[]> {
  await mkdir(goBin, { recursive: true })
  return withLock(join(cache, 'parts.lock'), async () => {
    await ensureDebian(say)
    for (const name of partNames) await ensureGo(name, say)
    return missingParts()
  })
}

async function ensureGo(name: PartName, say: (line: string) => void): Promise<void> {
  const origin: Origin = origins[name]
  if (!('go' in origin)) return
  const path = part(name)
  const said = path ? await run(path, origin.says) : undefined
  if (said && `${said.stdout}${said.stderr}`.includes(origin.version)) return
  if (!onPath('go')) return
  say(`building ${name} ${origin.version}`)
  const env = { GOBIN: goBin, GOFLAGS: '-mod=mod' }
  const flags = origin.ldflags === undefined ? [] : ['-ldflags', origin.ldflags]
  const built = await run(onPath('go') ?? 'go', ['install', ...flags, `${origin.go}@${origin.version}`], {
    env,
    timeoutMs: 900_000,
  })
  if (built.code !== 0) say(`${name} could not be built: ${built.stderr.slice(-2000)}`)
}

async function ensureDebian(say: (line: string) => void): Promise<void> {
  const packages = new Set(
    missingParts().flatMap(({ name }) => {
      const origin: Origin = origins[name]
      return 'debian' in origin ? [origin.debian] : []
    }),
  )
  if (packages.size === 0 || !canInstall()) return
  say(`installing ${[...packages].join(' ')}`)
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  const options = ['-y', '-o', 'DPkg::Lock::Timeout=300']
  const update = await run('apt-get', [...options, 'update'], { env, timeoutMs: 300_000 })
  if (update.code !== 0) say(`apt-get update failed: ${update.stderr.slice(-1000)}`)
  await withoutServices(async () => {
    // One by one where all at once fails, so that one package nobody has does not keep the rest away.
    const install = (names: readonly string[]) =>
      run('apt-get', [...options, 'install', '--no-install-recommends', ...names], {
        env,
        timeoutMs: 600_000,
      })
    if ((await install([...packages])).code === 0) return
    for (const name of packages) {
      const { code, stderr } = await install([name])
      if (code !== 0) say(`${name} could not be installed: ${stderr.slice(-1000)}`)
    }
  })
}

/** Debian's packages start what they install; its policy file is how to say that they must not. */
async function withoutServices(work: () => Promise<void>): Promise<void> {
  const policy = '/usr/sbin/policy-rc.d'
  const ours = await writeFile(policy, '#!/bin/sh\nexit 101\n', { flag: 'wx', mode: 0o755 }).then(
    () => true,
    () => false,
  )
  try {
    await work()
  } finally {
    if (ours) await rm(policy, { force: true })
  }
}

function canInstall(): boolean {
  return process.getuid?.() === 0 && onPath('apt-get') !== undefined
}

function reasonFor(name: PartName): string {
  const origin: Origin = origins[name]
  if ('go' in origin)
    return onPath('go') ? `go install ${origin.go}@${origin.version} failed` : 'there is no Go to build it'
  return canInstall()
    ? `Debian's ${origin.debian} could not be installed`
    : `install Debian's ${origin.debian}`
}

/** A directory is made by one process only. One that is older than any installation was left by a process that died. */
async function withLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  for (;;) {
    const made = await mkdir(path).then(
      () => true,
      () => false,
    )
    if (made) break
    const held = await stat(path).catch(() => undefined)
    if (held && Date.now() - held.mtimeMs > 30 * 60_000) await rm(path, { recursive: true, force: true })
    await sleep(500)
  }
  try {
    return await work()
  } finally {
    await rm(path, { recursive: true, force: true })
  }
}

function onPath(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/local/go/bin']
  return folders.map((folder) => executable(join(folder, name))).find((path) => path !== undefined)
}

function executable(path: string): string | undefined {
  try {
    accessSync(path, constants.X_OK)
    return path
  } catch {
    return undefined
  }
}

/** The line `htpasswd` writes for one user, with bcrypt, which is all that distribution reads. */
export async function htpasswdLine(username: string, password: string): Promise<string> {
  return mustRun(needPart('htpasswd'), ['-Bbn', '-C', '5', username, password])
}
