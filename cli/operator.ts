import type { Command } from './main.ts'
import { operatorFlags } from './operator-flags.ts'

/** Exit code 0 when it was told to stop, 1 when it lost its Lease: whoever supervises it starts it again. */
export const operatorCommand: Command = {
  summary: 'compiles the resources of a cluster into what the proxies serve',
  flags: operatorFlags,
  async run(values, environment) {
    // only then: the client of Kubernetes costs other commands time and memory
    const [{ readOperatorSettings }, { runOperatorProcess }] = await Promise.all([
      import('./operator-settings.ts'),
      import('./run-operator.ts'),
    ])
    return runOperatorProcess(readOperatorSettings(values, environment))
  },
}
