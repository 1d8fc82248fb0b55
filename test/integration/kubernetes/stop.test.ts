import { once } from 'node:events'
import { rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, it } from 'vitest'
import { temporaryFolder } from '../../rig/headwater.ts'
import { startProcess } from '../../rig/process.ts'

const endings: (() => unknown)[] = []
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

it.each([
  ['operator', []],
  ['proxy', ['--listen', '127.0.0.1:0', '--allow-anonymous']],
])(
  'K2: headwater %s ends in order where the API server takes connections and never says a word',
  async (command, more) => {
    const sockets: Socket[] = []
    const server = createServer((socket) => sockets.push(socket.on('error', () => {})))
    endings.push(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    const folder = await temporaryFolder()
    endings.push(() => rm(folder, { recursive: true }))
    const kubeconfig = join(folder, 'kubeconfig')
    const cluster = { server: `https://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true }
    const config = {
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'all' },
      clusters: [{ name: 'all', cluster }],
      users: [{ name: 'all', user: { token: 'none' } }],
      contexts: [{ name: 'all', context: { cluster: 'all', user: 'all' } }],
    }
    await writeFile(kubeconfig, JSON.stringify(config))

    const program = await startProcess({
      command: process.execPath,
      args: [
        ...['cli/main.ts', command, '--kubeconfig', kubeconfig, ...more],
        ...(command === 'proxy' ? ['--data', join(folder, 'data')] : []),
        ...['--admin-listen', '127.0.0.1:0', '--log-format', 'json'],
      ],
      ready: /"started"|listening on/,
    })
    endings.push(() => program.kill9())
    await expect.poll(() => sockets.length, { timeout: 30_000 }).toBeGreaterThan(0)
    await sleep(1000)
    expect(await program.stop(20_000)).toBe(0)
  },
)
