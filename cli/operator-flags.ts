import { clusterFlags } from './cluster-flags.ts'
import type { Flag } from './flags.ts'

export const operatorFlags: readonly Flag[] = [
  ...clusterFlags,
  {
    name: 'watch-namespace',
    value: 'NAME',
    repeatable: true,
    help: 'a namespace whose resources are served; without any, all namespaces are',
  },
  {
    name: 'grant-path',
    value: 'NS=PREFIX',
    repeatable: true,
    help: 'lets registries of a namespace have this path and all below it, besides those that begin with its name',
  },
  {
    name: 'grant-host',
    value: 'NS=PATTERN',
    repeatable: true,
    help: 'lets registries of a namespace have this host; its first label may be “*”',
  },
  {
    name: 'external-url',
    value: 'URL',
    help: 'where clients reach the proxies, such as https://registry.example.com; said in the status of registries',
  },
  {
    name: 'admin-listen',
    value: 'HOST:PORT',
    default: '127.0.0.1:5052',
    help: 'where /livez, /readyz and /metrics are',
  },
  { name: 'log-level', value: 'debug|info|warn|error', default: 'info', help: 'the least that is logged' },
  {
    name: 'log-format',
    value: 'json|pretty',
    help: 'how it is logged; without it pretty on a terminal and json otherwise',
  },
]
