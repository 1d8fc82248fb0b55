import { mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { crdFiles } from './rig/crd-files.ts'
import { formatTable, gaps, listTests, tablePath } from './rig/fault-table.ts'

/** Writes what is committed and can be derived: `npm run generate`. */
for (const [path, text] of crdFiles()) {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, text)
  console.log(path)
}
const tests = await listTests()
await writeFile(tablePath, formatTable(tests))
const open = gaps(tests)
console.log(
  `${tablePath}: ${open.length === 0 ? 'every row has a test' : `no test yet for\n  ${open.join('\n  ')}`}`,
)
