import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { temporaryFolder } from '../../proxy/store/temporary-folder.ts'

it('everything fails with EMFILE while there are no descriptors, and works again when there are', async () => {
  const script = join(import.meta.dirname, 'few-descriptors.ts')
  const folder = await temporaryFolder()
  const limited = 'ulimit -n 80; exec "$0" "$@"'
  const output = execFileSync('sh', ['-c', limited, process.execPath, script, folder], { encoding: 'utf8' })
  const { without, again, leftovers } = JSON.parse(output)
  expect(without).toEqual({
    open: 'EMFILE',
    create: 'EMFILE',
    commit: 'EMFILE',
    get: 'EMFILE',
    put: 'EMFILE',
    list: 'EMFILE',
  })
  expect(again).toBe(true)
  expect(leftovers).toEqual([])
})
