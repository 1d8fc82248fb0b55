import { clusterFlags } from './cluster-flags.ts'
import type { Flag } from './flags.ts'
import { serveFlags } from './serve-settings.ts'

/** What `serve` takes, less where its configuration is, and where the cluster is instead. */
export const proxyFlags: readonly Flag[] = [
  ...clusterFlags,
  ...serveFlags.filter(({ name }) => name !== 'config'),
]
