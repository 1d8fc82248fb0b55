import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { run } from '../rig/process.ts'

/** Decisions, each with the tables of cases beside it. */
const decisions = 'operator/**/{plan,compile,contest,claims,grants,judge}.ts'
const tables = [
  'operator/cleanup-policy',
  'operator/upstream',
  'operator/virtual-registry',
  'operator/proxies',
  'operator/compile.test.ts',
]

it('tables of cases go through every branch of the decisions, or nearly', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'coverage-'))
  try {
    const { code, stdout, stderr } = await run(process.execPath, [
      ...['node_modules/vitest/vitest.mjs', 'run', '--no-color', '--project', 'unit'],
      ...tables.map((name) => `test/${name}`),
      ...['--coverage.enabled', '--coverage.provider=v8', '--coverage.reporter=json-summary'],
      ...[`--coverage.include=${decisions}`, `--coverage.reportsDirectory=${folder}`],
    ])
    expect(code, stdout + stderr).toBe(0)
    const summary = JSON.parse(await readFile(join(folder, 'coverage-summary.json'), 'utf8')) as Record<
      string,
      { branches: { pct: number } }
    >
    const branches = Object.entries(summary).map(([file, { branches: found }]) => [file, found.pct] as const)
    expect(branches.length).toBeGreaterThan(8)
    expect(branches.filter(([, percent]) => percent < 95)).toEqual([])
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
