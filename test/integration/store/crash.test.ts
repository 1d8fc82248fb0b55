import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { openLocalStores, openLocalStoresToRead } from '../../../proxy/store/local-stores.ts'
import { scrub } from '../../../proxy/store/scrub.ts'
import { tagOf } from '../../proxy/store/sample-image.ts'
import { noObserver as observer, temporaryFolder } from '../../proxy/store/temporary-folder.ts'

it.each([
  ['without a limit', undefined],
  ['while it evicts', 17_000_000],
])(
  'a process killed at random moments %s leaves nothing wrong and loses nothing it had finished',
  async (_, maxBytes) => {
    const folder = await temporaryFolder()
    const finished: string[] = []
    for (let round = 0; round < 10; round += 1) {
      finished.push(...(await writeAndDie(folder, maxBytes, Math.random() * 400)))

      const found = await openLocalStoresToRead(folder)
      expect((await scrub(found, { hash: true })).findings).toEqual([])
      await found.close()
    }
    expect(finished.length).toBeGreaterThan(10)

    const stores = await openLocalStores({ folder, maxBytes, observer })
    for (const repository of finished)
      expect(await stores.index.getTag(tagOf(repository)), repository).toBeDefined()
    const { findings, counts } = await scrub(stores, { hash: true, leftoverAgeMs: 0 })
    expect(findings).toEqual([])
    expect(counts.tags).toBeGreaterThanOrEqual(finished.length)
    if (maxBytes !== undefined) expect(counts.evicted).toBeGreaterThan(0)
    await stores.close()
  },
)

/** Which images were whole before the process was killed, so long after it was ready. */
async function writeAndDie(folder: string, maxBytes: number | undefined, afterMs: number): Promise<string[]> {
  const script = join(import.meta.dirname, 'write-forever.ts')
  const child = spawn(process.execPath, [script, folder, String(maxBytes ?? '')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  let output = ''
  const ready = new Promise<void>((resolve, reject) => {
    child.once('exit', () => reject(new Error('it did not start')))
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      if (output.startsWith('ready\n')) resolve()
    })
  })
  await ready
  await setTimeout(afterMs)
  child.kill('SIGKILL')
  await exited
  return output.split('\n').slice(1, -1)
}
