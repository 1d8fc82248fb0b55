import { StoreUnavailableError } from '../proxy/store/breaker.ts'
import { BucketSettingsError } from '../proxy/store/bucket-settings-error.ts'
import { type Rebuilt, rebuildIndex } from '../proxy/store/rebuild-index.ts'
import { UsageError } from './flags.ts'
import type { Command } from './main.ts'
import { readSharedSettings, type SharedSettings, sharedFlags } from './shared-settings.ts'

/** Documents read at a time: enough to hide what each waits for S3. */
const atOnce = 32
const progressMs = 1_000

/** Exit code 1 where it could not be done; what was done by then stays, and it may be run again. */
export const reindexCommand: Command = {
  summary:
    'tells Redis of every document in the bucket, as after a loss of its data; beside running proxies too',
  flags: sharedFlags.filter(({ name }) => !/^(?:spool|s3-redirect)/.test(name)),
  async run(values) {
    const problems: string[] = []
    const settings = readSharedSettings(values, '', problems)
    if (!settings && problems.length === 0) problems.push('--redis-url and --s3-bucket: are needed')
    if (!settings) throw new UsageError(problems)
    try {
      const done = await reindex(settings)
      process.stdout.write(`${format(done)}; done\n`)
      return 0
    } catch (error) {
      if (!(error instanceof StoreUnavailableError || error instanceof BucketSettingsError)) throw error
      process.stderr.write(`headwater: ${error.message}\n`)
      return 1
    }
  },
}

async function reindex(settings: SharedSettings): Promise<Rebuilt> {
  const { openSharedIndex } = await import('../proxy/store/shared-stores.ts')
  const { documents, index, uses, close } = await openSharedIndex(settings)
  let saidAt = performance.now()
  const onProgress = (done: Rebuilt) => {
    if (performance.now() - saidAt < progressMs) return
    saidAt = performance.now()
    process.stderr.write(`${format(done)} so far\n`)
  }
  try {
    return await rebuildIndex(documents, index, { atOnce, totals: uses, onProgress })
  } finally {
    close()
  }
}

function format({ tags, links, uses, skipped }: Rebuilt): string {
  return `${tags} tags, ${links} links, ${uses} uses, ${skipped} other documents`
}
