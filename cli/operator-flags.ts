import { clusterFlags } from './cluster-flags.ts'
import type { Flag } from './flags.ts'
import { clusterKeyFlag } from './internal-flags.ts'

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
    name: 'proxy-service',
    value: 'NAME',
    help: 'the Service of the proxies in --namespace, whose port “internal” leads to their --internal-listen; its ready endpoints are asked what they serve',
  },
  {
    name: 'proxy-endpoint',
    value: 'URL',
    repeatable: true,
    help: 'the --internal-listen of one proxy, where there is no Service to find it by',
  },
  clusterKeyFlag,
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
