import { readFileSync } from 'node:fs'
import { parseClusterKeys } from '../proxy/internal/cluster-auth.ts'
import type { FlagValues } from './flags.ts'
import { type Address, parseAddress } from './serve-settings.ts'
import { parseBaseUrl } from './shared-settings.ts'

export interface InternalSettings {
  readonly listen: Address
  /** Undefined for the address that is listened on. */
  readonly url: string | undefined
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
  const url = values.get('internal-url')?.at(-1)
  if (url !== undefined && parseBaseUrl(url) === undefined) {
    problems.push('--internal-url: is not an http or https URL without a path')
  }
  return listen && keys && { listen, keys, url: url === undefined ? undefined : parseBaseUrl(url) }
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
