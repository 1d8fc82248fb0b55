import { accessSync, constants } from 'node:fs'
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { mustRun, type Ran, run } from './process.ts'

/** A real program that tests use, and where it comes from by itself. */
type Origin =
  | {
      readonly go: string
      readonly version: string
      readonly says: readonly string[]
      readonly ldflags?: string
      /**
       * A folder with the go.mod that says of which versions it is built, for what `go install` refuses because it
       * replaces modules. KUBEBUILDER_ASSETS, a folder of such programs, comes first.
       */
      readonly module?: string
    }
  | { readonly debian: string }

const kubernetes = join(import.meta.dirname, 'kubernetes/module')

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
  etcd: { go: 'go.etcd.io/etcd/server/v3', version: '3.6.8', says: ['--version'], module: kubernetes },
  'kube-apiserver': ofKubernetes('kube-apiserver', ['--version']),
  kubectl: ofKubernetes('kubectl', ['version', '--client']),
  'kube-controller-manager': ofKubernetes('kube-controller-manager', ['--version']),
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
  if ('go' in origins[name]) return given(name) ?? executable(join(goBin, name))
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
  if (path !== undefined && path === given(name)) return
  const said = path ? await run(path, origin.says) : undefined
  if (said && `${said.stdout}${said.stderr}`.includes(origin.version)) return
  if (!onPath('go')) return
  say(`building ${name} ${origin.version}`)
  const built = await (origin.module === undefined ? goInstall(origin) : goBuild(name, origin))
  if (built.code !== 0) say(`${name} could not be built: ${built.stderr.slice(-2000)}`)
}

type GoOrigin = Extract<Origin, { go: string }>

function goInstall({ go, version, ldflags }: GoOrigin): Promise<Ran> {
  const env = { GOBIN: goBin, GOFLAGS: '-mod=mod' }
  const flags = ldflags === undefined ? [] : ['-ldflags', ldflags]
  return run(onPath('go') ?? 'go', ['install', ...flags, `${go}@${version}`], { env, timeoutMs: 900_000 })
}

/** Minutes of work of a whole machine, so it lets others go first. */
async function goBuild(name: PartName, { go, ldflags, module }: GoOrigin): Promise<Ran> {
  const partial = join(goBin, `.${name}`)
  const flags = ldflags === undefined ? [] : ['-ldflags', ldflags]
  const built = await run('nice', ['-n', '10', onPath('go') ?? 'go', 'build', '-o', partial, ...flags, go], {
    cwd: module!,
    env: { GOFLAGS: '-mod=readonly -buildvcs=false' },
    timeoutMs: 1_800_000,
  })
  if (built.code === 0) await rename(partial, join(goBin, name))
  return built
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

/** What somebody has built of Kubernetes already, as controller-runtime's tests are told of it. */
function given(name: PartName): string | undefined {
  const folder = process.env.KUBEBUILDER_ASSETS
  return folder && 'module' in origins[name] ? executable(join(folder, name)) : undefined
}

/** A command of Kubernetes. It says its version, and what it takes for old, from the flags it was linked with. */
function ofKubernetes(command: string, says: readonly string[]) {
  const version = 'v1.36.3'
  const flags = [
    `component-base/version.gitVersion=${version}`,
    'component-base/version.gitMajor=1',
    'component-base/version.gitMinor=36',
    `client-go/pkg/version.gitVersion=${version}`,
  ]
  const ldflags = ['-s -w', ...flags.map((flag) => `-X k8s.io/${flag}`)].join(' ')
  return { go: `k8s.io/kubernetes/cmd/${command}`, version, says, ldflags, module: kubernetes }
}

function reasonFor(name: PartName): string {
  const origin: Origin = origins[name]
  if ('go' in origin)
    return onPath('go') ? `${origin.go} ${origin.version} could not be built` : 'there is no Go to build it'
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
