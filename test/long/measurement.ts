import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, release } from 'node:os'

/** Writes a table under docs/measurements/, with the machine it was taken on. */
export function writeMeasurement(name: string, lines: readonly string[]): void {
  const [cpu] = cpus()
  const machine = `${cpus().length} cores of ${cpu?.model.trim()}, Linux ${release()}, Node ${process.versions.node}`
  const head = [
    `# ${name}`,
    '',
    `Written by \`npm run test:long\` on ${new Date().toISOString().slice(0, 10)}: ${machine}.`,
    '',
  ]
  mkdirSync('docs/measurements', { recursive: true })
  writeFileSync(`docs/measurements/${name}.md`, [...head, ...lines, ''].join('\n'))
}
