import { spawn } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { mkdtemp, readdir, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { linesWithSecrets } from './rig/canary.ts'
import { ensureParts } from './rig/parts.ts'
import { countReport, type Tally, tallyOf } from './rig/tally.ts'

/**
 * Runs the tiers in order and says at its end what passed: `npm test` types, lint, unit and integration; `--ci` also a
 * shortened `long`; `--long` the whole of it alone. All tiers run, whatever fails.
 */
const args = process.argv.slice(2)
const ci = args.includes('--ci')
const long = args.includes('--long')
/** All that this run writes is below it and goes with it; a short name, since paths of sockets have a limit. */
const folder = await mkdtemp(join(tmpdir(), 'hw-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
const total: Tally = { passed: 0, failed: 0, skipped: [], failures: [] }
let running: ReturnType<typeof spawn> | undefined

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    running?.kill(signal)
    process.exit(1)
  })
}

await tier('real parts', async () => {
  const missing = await ensureParts((line) => console.log(line))
  const names = missing.map(({ name, reason }) => `${name}: ${reason}`)
  for (const name of names) console.log(`LEFT OUT: tests that need ${name}`)
  return process.env.CI ? tallyOf([], names) : tallyOf(['real parts'], [])
})
if (!long) {
  await tier('types', () => program('types', ['node_modules/typescript/bin/tsc', '--noEmit']))
  await tier('lint', () => program('lint', ['node_modules/@biomejs/biome/bin/biome', 'check', '.']))
  await tier('unit', () => vitest('unit'))
  await tier('integration', () => vitest('integration'))
}
if (ci || long)
  await tier(ci ? 'long, shortened' : 'long', () => vitest('long', { HEADWATER_SHORT: ci ? '1' : '' }))
await tier('no secret in any output', searchSecrets)

if (total.skipped.length > 0) {
  console.log(`\n${total.skipped.length} skipped:\n${total.skipped.map((name) => `  ${name}`).join('\n')}`)
}
if (total.failures.length > 0) {
  console.log(`\n${total.failures.length} failed:\n${total.failures.map((name) => `  ${name}`).join('\n')}`)
}
console.log(`\n${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed === 0 ? 0 : 1

async function tier(name: string, work: () => Promise<Tally>): Promise<void> {
  console.log(`\n== ${name}`)
  const start = performance.now()
  const { passed, failed, skipped, failures } = await work()
  total.passed += passed
  total.failed += failed
  total.skipped.push(...skipped)
  total.failures.push(...failures)
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  console.log(`-- ${name}: ${passed} passed, ${failed} failed, ${skipped.length} skipped in ${seconds} s`)
}

async function program(name: string, words: readonly string[]): Promise<Tally> {
  return (await execute(words)) === 0 ? tallyOf([name], []) : tallyOf([], [name])
}

async function vitest(project: string, env: Record<string, string> = {}): Promise<Tally> {
  const report = join(folder, `${project}.json`)
  const code = await execute(
    [
      ...['node_modules/vitest/vitest.mjs', 'run', '--project', project, '--passWithNoTests'],
      ...['--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
    ],
    { ...env, HEADWATER_TEST_OUTPUT: join(folder, 'processes') },
  )
  const counted = existsSync(report)
    ? countReport(JSON.parse(await readFile(report, 'utf8')))
    : tallyOf([], [])
  if (code === 0 || counted.failed > 0) return counted
  // an error outside of any test, or a crash of the runner itself
  return { ...counted, failed: 1, failures: [`${project}: vitest ended with ${code}`] }
}

/** I4 over all that Headwater said in this run: logs and metrics of every process the tests started. */
async function searchSecrets(): Promise<Tally> {
  const outputs = join(folder, 'processes')
  const files = await readdir(outputs).catch(() => [])
  const texts = await Promise.all(files.map((file) => readFile(join(outputs, file), 'utf8')))
  if (texts.length === 0) return tallyOf([], ['no output was kept in which secrets could be looked for'])
  const lines = texts.flatMap(linesWithSecrets)
  for (const line of lines.slice(0, 10)) console.log(line.slice(0, 500))
  return lines.length === 0
    ? tallyOf(['no secret in any output'], [])
    : tallyOf([], ['a secret is in the output'])
}

function execute(
  words: readonly string[],
  env: Record<string, string> = {},
): Promise<number | NodeJS.Signals> {
  const child = spawn(process.execPath, words, {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, TMPDIR: folder, ...env },
  })
  running = child
  return new Promise((resolve) => {
    child.once('error', () => resolve(127))
    child.once('close', (code, signal) => resolve(code ?? signal ?? 1))
  })
}
