import { execFileSync } from 'node:child_process'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { blobKey } from '../../../proxy/store/blob-store.ts'
import { temporaryFolder } from '../../proxy/store/temporary-folder.ts'
import { describeWithProgram } from './programs.ts'

interface Step {
  readonly call: string
  /** The file or folder; of a rename the new name. */
  readonly path: string
}

describeWithProgram('strace', 'what is on the disk when a link is written', () => {
  it('is the blob: its file synced, renamed, and its folder synced, each once', async () => {
    const folder = await temporaryFolder()
    const steps = await trace(folder)
    const blob = join(folder, 'blobs', blobKey(digestOf(Buffer.alloc(3_000_000, 7))))
    const link = join(folder, 'documents/upstreams/1/alpine/_links/blobs/sha256/the-link')
    const spool = `${join(folder, 'blobs/.spool')}/`
    const temporary = `${join(folder, 'documents/.tmp')}/`

    const blobSteps = steps.filter(
      ({ path }) => path.startsWith(spool) || path === blob || path === join(blob, '..'),
    )
    expect(blobSteps.map(({ call }) => call)).toEqual(['fsync', 'rename', 'fsync'])
    expect(blobSteps.map(({ path }) => path)).toEqual([
      expect.stringContaining(spool),
      blob,
      join(blob, '..'),
    ])

    const linkSteps = steps.filter(
      ({ path }) => path.startsWith(temporary) || path === link || path === join(link, '..'),
    )
    expect(linkSteps.map(({ call }) => call)).toEqual(['fsync', 'rename', 'fsync'])
    expect(linkSteps[1]).toEqual({ call: 'rename', path: link })

    expect(steps.indexOf(blobSteps[2]!)).toBeLessThan(steps.indexOf(linkSteps[1]!))
  })

  it('is every new folder on the way to it, before the rename', async () => {
    const folder = await temporaryFolder()
    const steps = await trace(folder)
    const renamed = (ending: string) =>
      steps.findIndex(({ call, path }) => call === 'rename' && path.endsWith(ending))
    const synced = (path: string) =>
      steps.findIndex((step) => step.call === 'fsync' && step.path === join(folder, path))
    for (const path of [
      'documents',
      'documents/upstreams',
      'documents/upstreams/1',
      'documents/upstreams/1/alpine/_links',
    ]) {
      expect(synced(path), path).toBeGreaterThanOrEqual(0)
      expect(synced(path), path).toBeLessThan(renamed('/the-link'))
    }
    const { length } = 'sha256:'
    const fan = digestOf(Buffer.alloc(3_000_000, 7)).slice(length, length + 2)
    expect(synced('blobs/sha256')).toBeGreaterThanOrEqual(0)
    expect(synced('blobs/sha256')).toBeLessThan(
      steps.findIndex(({ path }) => path.includes(`/sha256/${fan}/`)),
    )
  })
})

/** Syncs and renames of a run of `write-an-image.ts`, in the order in which they ended. */
async function trace(folder: string): Promise<Step[]> {
  const log = join(folder, 'strace.log')
  const script = join(import.meta.dirname, 'write-an-image.ts')
  await mkdir(join(folder, 'blobs'))
  const calls = 'trace=fsync,fdatasync,rename,renameat,renameat2,openat'
  execFileSync('strace', ['-f', '-y', '-e', calls, '-o', log, process.execPath, script, folder], {
    stdio: 'pipe',
  })
  return parse(await readFile(log, 'utf8'))
}

/** With `-y` strace writes `fsync(17</path/of/it>)`. A call that others interrupt is written in two lines. */
function parse(log: string): Step[] {
  const begun = new Map<string, string>()
  return log.split('\n').flatMap((line) => {
    const [, thread = '', rest = ''] = /^(\d+)\s+(.*)$/.exec(line) ?? []
    if (rest.endsWith('<unfinished ...>')) {
      begun.set(thread, rest)
      return []
    }
    const [, call] = /^(?:<\.\.\. )?([a-z0-9]+)/.exec(rest) ?? []
    const whole = rest.startsWith('<...') ? `${begun.get(thread)}${rest}` : rest
    if (!/= 0$/.test(whole)) return []
    if (call === 'fsync' || call === 'fdatasync') return [{ call, path: /<([^>]+)>/.exec(whole)?.[1] ?? '' }]
    if (call?.startsWith('rename'))
      return [{ call: 'rename', path: [...whole.matchAll(/"([^"]+)"/g)].at(-1)?.[1] ?? '' }]
    return []
  })
}
