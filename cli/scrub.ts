import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { openLocalStoresToRead } from '../proxy/store/local-stores.ts'
import { scrub } from '../proxy/store/scrub.ts'
import { type Flag, UsageError } from './flags.ts'
import type { Command } from './main.ts'

const flags: readonly Flag[] = [
  { name: 'data', value: 'DIR', default: '.headwater', help: 'the folder of the cache; it may be in use' },
  { name: 'no-hash', help: 'leaves out reading every blob and comparing it with its digest' },
]

/** Exit code 0 when nothing is wrong, 1 when something is. */
export const scrubCommand: Command = {
  summary: 'checks every stored object, document and entry against each other; changes nothing',
  flags,
  async run(values) {
    const data = resolve(values.get('data')!.at(-1)!)
    if (!existsSync(join(data, 'documents')))
      throw new UsageError([`--data: ${data}: there is no cache there`])
    const stores = await openLocalStoresToRead(data)
    try {
      const { findings, findingsLeftOut, counts } = await scrub(stores, { hash: !values.has('no-hash') })
      for (const { kind, subject, detail } of findings)
        process.stdout.write(`${kind} ${subject}: ${detail}\n`)
      if (findingsLeftOut > 0) process.stdout.write(`and ${findingsLeftOut} more\n`)
      const summary = Object.entries(counts).map(([name, count]) => `${name} ${count}`)
      process.stdout.write(`${findings.length + findingsLeftOut} findings; ${summary.join(', ')}\n`)
      return findings.length === 0 ? 0 : 1
    } finally {
      await stores.close()
    }
  },
}
