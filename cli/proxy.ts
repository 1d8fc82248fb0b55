import type { Command } from './main.ts'
import { proxyFlags } from './proxy-flags.ts'

export const proxyCommand: Command = {
  summary: 'serves what the operator of a cluster compiled; any number of replicas',
  flags: proxyFlags,
  async run(values, environment) {
    // only then: the client of Kubernetes costs other commands time and memory
    const { runProxyProcess } = await import('./run-proxy.ts')
    const code = await runProxyProcess(values, environment)
    process.exit(code) // a connection to the API server whose handshake is never answered would hold it
  },
}
