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
  if (text === undefined) {
    for (const name of ['internal-url', 'cluster-key-file']) {
      if (values.has(name)) problems.push(`--internal-listen: is needed with --${name}`)
    }
    return undefined
  }
  const listen = parseAddress(text)
  if (listen === undefined) {
    problems.push(`--internal-listen: ${JSON.stringify(text)} is not HOST:PORT, such as 0.0.0.0:5053`)
  }
  if (values.get('cluster-key-file') === undefined) {
    problems.push('--cluster-key-file: is needed with --internal-listen')
  }
  const url = readInternalUrl(values, listen, problems)
  return listen && keys && { listen, keys, url }
}

/** Replicas know each other by where they are reached, and none is reached at an address that stands for all. */
function readInternalUrl(
  values: FlagValues,
  listen: Address | undefined,
  problems: string[],
): string | undefined {
  const text = values.get('internal-url')?.at(-1)
  if (text === undefined) {
    if (values.has('redis-url') && listen !== undefined && isUnspecified(listen.host)) {
      problems.push(
        `--internal-url: is needed with --redis-url where --internal-listen is ${listen.host}, which is no address of this replica alone: say where the others reach it, such as http://10.0.0.7:${listen.port}`,
      )
    }
    return undefined
  }
  const url = parseBaseUrl(text)
  if (url === undefined) problems.push('--internal-url: is not an http or https URL without a path')
  else if (isUnspecified(new URL(url).hostname)) {
    problems.push('--internal-url: must be an address at which others reach this replica, and no other one')
  }
  return url
}

/** However it is written: URLs have one form for each address. */
function isUnspecified(host: string): boolean {
  const url = `http://${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}/`
  return URL.canParse(url) && ['0.0.0.0', '[::]', '[::ffff:0:0]'].includes(new URL(url).hostname)
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
