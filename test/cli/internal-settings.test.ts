import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { readFlags } from '../../cli/flags.ts'
import { readInternalSettings } from '../../cli/internal-settings.ts'
import { operatorFlags } from '../../cli/operator-flags.ts'
import { proxyFlags } from '../../cli/proxy-flags.ts'
import { readServeSettings } from '../../cli/serve-settings.ts'

let folder: string
let keyFile: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'headwater-settings-'))
  keyFile = join(folder, 'key')
  writeFileSync(keyFile, 'k'.repeat(32))
})
afterAll(() => rmSync(folder, { recursive: true }))

function read(args: readonly string[]) {
  const problems: string[] = []
  const flags = readFlags(proxyFlags, [...args, '--cluster-key-file', keyFile], {})
  return { url: readInternalSettings(flags, problems)?.url, problems }
}

const shared = ['--redis-url', 'redis://127.0.0.1:6379', '--s3-bucket', 'cache']

it.each(['0.0.0.0:5053', '[::]:5053', '0:5053', '[0:0::0]:5053', '[::ffff:0.0.0.0]:5053'])(
  'asks where other replicas reach one that listens on %s',
  (listen) => {
    const { problems } = read([...shared, '--internal-listen', listen])
    expect(problems).toEqual([expect.stringMatching(/^--internal-url: is needed with --redis-url /)])
    expect(read([...shared, '--internal-listen', listen, '--internal-url', 'http://10.0.0.7:5053'])).toEqual({
      url: 'http://10.0.0.7:5053',
      problems: [],
    })
  },
)

it.each([
  ['alone', ['--internal-listen', '0.0.0.0:5053']],
  ['that listens on one address', [...shared, '--internal-listen', '10.0.0.7:5053']],
  ['that listens on a name', [...shared, '--internal-listen', 'localhost:5053']],
])('asks for no URL of one %s', (_name, args) => {
  expect(read(args)).toEqual({ url: undefined, problems: [] })
})

it.each([
  'http://0.0.0.0:5053',
  'http://[::]:5053',
  'http://0:5053',
  '10.0.0.7:5053',
  'http://10.0.0.7:5053/x',
])('takes no replica to be at %s', (url) => {
  const { problems } = read([...shared, '--internal-listen', '0.0.0.0:5053', '--internal-url', url])
  expect(problems).toEqual([expect.stringMatching(/^--internal-url: /)])
})

it('says what --internal-url and --cluster-key-file are of no use without', () => {
  expect(read(['--internal-url', 'http://10.0.0.7:5053']).problems).toEqual([
    '--internal-listen: is needed with --internal-url',
    '--internal-listen: is needed with --cluster-key-file',
  ])
})

it('takes the flags that the page about the operator begins with', () => {
  const page = readFileSync('docs/operator.md', 'utf8')
  const [block = ''] = /```sh\n[^`]*headwater operator[^`]*```/.exec(page) ?? []
  const commands = block.replaceAll('\\\n', ' ').split('\n')
  const argsOf = (name: string) =>
    commands
      .find((line) => line.startsWith(`headwater ${name} `))!
      .replace('/etc/headwater/key', keyFile)
      .replaceAll('$POD_IP', '10.0.0.7')
      .replaceAll('"', '')
      .split(/\s+/)
      .slice(2)
  readFlags(operatorFlags, argsOf('operator'), {})
  const proxy = readServeSettings(readFlags(proxyFlags, argsOf('proxy'), {}))
  expect(proxy).toMatchObject({ internal: { url: 'http://10.0.0.7:5053' }, listen: { host: '0.0.0.0' } })
  expect(proxy.shared).toBeDefined()
})
