import type { Flag } from './flags.ts'

/** What the operator and the proxy need to find the API server and each other. */
export const clusterFlags: readonly Flag[] = [
  {
    name: 'kubeconfig',
    value: 'FILE',
    help: 'how to reach the API server; without it, the service account of the pod it runs in',
  },
  {
    name: 'namespace',
    value: 'NAME',
    default: 'headwater-system',
    help: 'the namespace of this installation',
  },
  {
    name: 'routes-namespace',
    value: 'NAME',
    help: 'where the operator writes what the proxies serve, and nothing else is; without it <namespace>-routes',
  },
]
