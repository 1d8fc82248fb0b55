import { loadavg } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ensureParts } from '../test/rig/parts.ts'
import { measureReplicas } from './replicas.ts'
import { type Part, writeInto } from './report.ts'
import { removeFolder, type Server, temporaryFolder } from './servers.ts'
import { measureSingle } from './single.ts'

/**
 * `npm run bench`: Headwater, distribution and nginx, warm, in turns; then replicas over Redis and S3. `--write` puts the
 * figures into docs/benchmarks.md; `--only replicas` measures that part alone, `--only single` the other one, and
 * `--only manifest` its cases with that in their name; `--cpu-prof` has Headwater write a profile into the working directory.
 */
const { values } = parseArgs({
  options: {
    rounds: { type: 'string' },
    seconds: { type: 'string', default: '4' },
    only: { type: 'string', default: '' },
    write: { type: 'boolean', default: false },
    'cpu-prof': { type: 'boolean', default: false },
  },
})
const seconds = Number(values.seconds)
const busyLoad = 0.5

const missing = await ensureParts((line) => console.log(line))
for (const { name, reason } of missing) console.log(`missing: ${name}: ${reason}`)
if (values.only !== 'replicas') {
  const only = values.only === 'single' ? '' : values.only
  const nodeFlags = values['cpu-prof'] ? ['--cpu-prof'] : []
  await measurePart('single', (folder, started) =>
    measureSingle({ folder, started, rounds: Number(values.rounds ?? 9), seconds, only, nodeFlags }),
  )
}
if (values.only === 'replicas' || values.only === '') {
  await measurePart('replicas', (folder, started) =>
    measureReplicas({ folder, started, rounds: Number(values.rounds ?? 5), seconds }),
  )
}

async function measurePart(
  part: Part,
  work: (folder: string, started: <T extends Pick<Server, 'stop'>>(server: T) => T) => Promise<string>,
): Promise<void> {
  const stopping: (() => Promise<void>)[] = []
  const folder = await temporaryFolder()
  const [load = 0] = loadavg()
  if (load > busyLoad) console.log(`the machine is busy: its load is ${load.toFixed(2)}`)
  try {
    const text = await work(join(folder, part), (server) => {
      stopping.push(() => server.stop())
      return server
    })
    console.log(`\n${text}`)
    if (values.write) await writeInto('docs/benchmarks.md', part, text)
  } finally {
    for (const stop of stopping.reverse()) await stop()
    await removeFolder(folder)
  }
}
