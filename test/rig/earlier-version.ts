import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { mustRun, run } from './process.ts'

/** What operator and proxies must agree on. */
const contract = 'proxy/routes.ts'

/** The commit before the last one that changed the contract; undefined where the history is not there, with the reason. */
export async function earlierCommit(): Promise<{ readonly commit?: string; readonly reason?: string }> {
  const git = async (...args: readonly string[]) => {
    const { code, stdout } = await run('git', args)
    return code === 0 ? stdout.trim() : undefined
  }
  const isShallow = await git('rev-parse', '--is-shallow-repository')
  if (isShallow === undefined) return { reason: 'there is no git, or no repository' }
  if (isShallow === 'true') return { reason: 'the clone is shallow' }
  const change = await git('log', '-1', '--format=%H', '--', contract)
  const commit = await git('rev-parse', '--verify', '--quiet', `${change}^`)
  return commit ? { commit } : { reason: `${contract} never changed` }
}

export interface EarlierVersion {
  readonly folder: string
  /** What its proxy says that it can do. */
  readonly features: readonly string[]
  close(): Promise<void>
}

/** The sources of a commit in a temporary folder, to be run with the dependencies of this checkout. */
export async function checkOut(commit: string): Promise<EarlierVersion> {
  const folder = await mkdtemp(join(tmpdir(), 'headwater-earlier-'))
  const archive = join(folder, 'sources.tar')
  await mustRun('git', ['archive', '--output', archive, commit])
  await mustRun('tar', ['-xf', archive, '-C', folder])
  await rm(archive)
  await symlink(resolve('node_modules'), join(folder, 'node_modules'))
  const script = `import('./${contract}').then(({ supportedFeatures }) => console.log(JSON.stringify(supportedFeatures)))`
  const features = JSON.parse(await mustRun(process.execPath, ['-e', script], { cwd: folder }))
  return { folder, features, close: () => rm(folder, { recursive: true, force: true }) }
}
