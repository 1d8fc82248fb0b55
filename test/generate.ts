import { writeFile } from 'node:fs/promises'
import { formatTable, gaps, listTests, tablePath } from './rig/fault-table.ts'

/** Writes what is committed and can be derived: `npm run generate`. */
const tests = await listTests()
await writeFile(tablePath, formatTable(tests))
const open = gaps(tests)
console.log(
  `${tablePath}: ${open.length === 0 ? 'every row has a test' : `no test yet for\n  ${open.join('\n  ')}`}`,
)
