import { readFileSync } from 'node:fs'
import { parseClusterKeys } from '../proxy/internal/cluster-auth.ts'
import type { Flag, FlagValues } from './flags.ts'
import { type Address, parseAddress } from './serve-settings.ts'

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

export interface InternalSettings {
  readonly listen: Address
  readonly keys: readonly string[]
}

/** Undefined where nothing is asked for, and where `problems` says what is wrong. */
export function readInternalSettings(values: FlagValues, problems: string[]): InternalSettings | undefined {
  const text = values.get('internal-listen')?.at(-1)
  const keys = readClusterKeys(values, problems)
  if (text === undefined) return undefined
  const listen = parseAddress(text)
  if (listen === undefined) {
    problems.push(`--internal-listen: ${JSON.stringify(text)} is not HOST:PORT, such as 0.0.0.0:5053`)
  }
  if (values.get('cluster-key-file') === undefined) {
    problems.push('--cluster-key-file: is needed with --internal-listen')
  }
  return listen && keys && { listen, keys }
}

/** Undefined where there is no such flag, and where `problems` says what is wrong. What is in the file is never said. */
export function readClusterKeys(values: FlagValues, problems: string[]): readonly string[] | undefined {
  const file = values.get('cluster-key-file')?.at(-1)
  if (file === undefined) return undefined
  try {
    const keys = parseClusterKeys(readFileSync(file, 'utf8'))
    if (keys === undefined) {
      problems.push(`--cluster-key-file: ${file}: expected one line, or two, of at least 32 bytes each`)
    }
    return keys
  } catch (error) {
    problems.push(`--cluster-key-file: ${file}: ${(error as NodeJS.ErrnoException).code ?? 'cannot be read'}`)
    return undefined
  }
}
