import { needPart } from '../parts.ts'
import { type RunningProcess, startProcess } from '../process.ts'
import type { ApiServer } from './api-server.ts'

/**
 * Kubernetes' own controllers for what tests with deletions need: namespaces are emptied, and what has an owner goes
 * with it. To be stopped before the API server. Needs the part kube-controller-manager.
 */
export function startControllers(
  server: ApiServer,
  names: readonly string[] = ['namespace-controller', 'garbage-collector-controller'],
): Promise<RunningProcess> {
  return startProcess({
    command: needPart('kube-controller-manager'),
    args: [
      ...['--kubeconfig', server.kubeconfig, '--leader-elect=false', '--secure-port=0'],
      ...[`--controllers=${names.join(',')}`, '--concurrent-namespace-syncs=10', '--v=1'],
    ],
    ready: /Started controller|Starting controller|Controller starting/,
    timeoutMs: 60_000,
  })
}
