import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { removeFolder, temporaryFolder } from '../../rig/headwater.ts'
import { run } from '../../rig/process.ts'

const busy = createServer()
const busyPort = () => (busy.address() as { port: number }).port
let folder: string
beforeAll(async () => {
  await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve))
  folder = await temporaryFolder()
})
afterAll(async () => {
  busy.close()
  await removeFolder(folder)
})

async function start(args: readonly string[], env: Record<string, string> = {}) {
  const data = join(folder, 'data')
  const ports = ['--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0']
  const command = ['cli/main.ts', 'serve', '--config', 'examples/local-registry.yaml', '--data', data]
  return run(process.execPath, [...command, ...ports, ...args], { env, timeoutMs: 20_000 })
}

it.each([
  [
    'a busy port for clients',
    () => ['--listen', `127.0.0.1:${busyPort()}`],
    {},
    /^headwater: --listen: .*\n$/,
  ],
  [
    'a busy port for the admin',
    () => ['--admin-listen', `127.0.0.1:${busyPort()}`],
    {},
    /^headwater: --admin-listen: .*\n$/,
  ],
  [
    'an address that is none',
    () => ['--deny-upstream-cidr', '999.1.1.1/8'],
    {},
    /^headwater: --deny-upstream-cidr: .*\n$/,
  ],
  [
    'a range that is none',
    () => ['--allow-upstream-cidr', '10.0.0.0/77'],
    {},
    /^headwater: --allow-upstream-cidr: .*\n$/,
  ],
  [
    'an external URL with a path',
    () => ['--external-url', 'https://registry.example.com/hub'],
    {},
    /^headwater: --external-url: .*\n$/,
  ],
  [
    'a proxy that is none',
    () => [],
    { HTTPS_PROXY: 'ftp://me:secret@x' },
    /^headwater: HTTPS_PROXY: [^@]*\n$/,
  ],
] as const)('ends at once with one line for %s', async (_name, args, env, line) => {
  const { code, stderr } = await start(args(), env)
  expect(stderr).toMatch(line)
  expect(code).toBeGreaterThan(0)
})

it('ends at once with one line for a busy port of the operator', async () => {
  const kubeconfig = join(folder, 'kubeconfig')
  await writeFile(kubeconfig, JSON.stringify(nowhere))
  const command = ['cli/main.ts', 'operator', '--kubeconfig', kubeconfig, '--admin-listen']
  const { code, stderr } = await run(process.execPath, [...command, `127.0.0.1:${busyPort()}`], {
    timeoutMs: 20_000,
  })
  expect(stderr).toMatch(/^headwater: --admin-listen: .*\n$/)
  expect(code).toBe(1)
})

const nowhere = {
  apiVersion: 'v1',
  kind: 'Config',
  clusters: [{ name: 'a', cluster: { server: 'https://127.0.0.1:9' } }],
  users: [{ name: 'a', user: {} }],
  contexts: [{ name: 'a', context: { cluster: 'a', user: 'a' } }],
  'current-context': 'a',
}
