import type { Flag } from './flags.ts'

export const clusterKeyFlag: Flag = {
  name: 'cluster-key-file',
  value: 'FILE',
  help: 'by what the programs of this installation know each other: a line of at least 32 bytes, or two of which the first signs and both are taken',
}

export const internalListenFlag: Flag = {
  name: 'internal-listen',
  value: 'HOST:PORT',
  help: 'where the operator and other replicas ask this one; needs --cluster-key-file',
}

export const internalUrlFlag: Flag = {
  name: 'internal-url',
  value: 'URL',
  help: 'where other replicas reach --internal-listen, such as http://10.0.0.7:5053; without it at the address that names',
}
