import type { Sample } from './samples.ts'

/** Where a registry's names begin: the upstream itself, or a virtual registry at its path or at a host's root. */
export interface Place {
  /** As in an image's name: `127.0.0.1:41234`. */
  readonly host: string
  /** Empty, or a path with its last slash. */
  readonly prefix: string
}

/** One command of a client: a line of the table. */
export interface Command {
  readonly title: string
  /** It can only be given a host, no path: Headwater serves the registry at the root of one then. */
  readonly hostOnly?: boolean
  /** What it must have or say afterwards, from what the upstream has. */
  wanted(sample: Sample, upstream: Place): readonly string[] | Promise<readonly string[]>
  /** Pulls it and gives what it has then, hashed by us, or said; forgets it all again. Throws `ClientFailure`. */
  get(place: Place, sample: Sample): Promise<readonly string[]>
}

export interface Client {
  readonly version: string
  readonly commands: readonly Command[]
  close(): Promise<void>
}

/** What a client said when it could not. */
export class ClientFailure extends Error {
  override readonly name = 'ClientFailure'
}

/** `:tag` and, for an artifact, `@digest` of each that refers to it. */
export function referencesTo(sample: Sample): string[] {
  return [`:${sample.tag}`, ...sample.referrers.map(({ digest }) => `@${digest}`)]
}

export function nameAt({ host, prefix }: Place, { repository }: Sample): string {
  return `${host}/${prefix}${repository}`
}

export type Cell =
  | { readonly verdict: 'same' }
  /** The client cannot, and says the same against the upstream. */
  | { readonly verdict: 'limit'; readonly failure: string }
  | { readonly verdict: 'red'; readonly why: string }

/** Through Headwater as from the upstream, byte for byte, or the client's own limit. */
export async function fillCell(
  command: Command,
  sample: Sample,
  { through, upstream }: { through: Place; upstream: Place },
): Promise<Cell> {
  const pulled = await attempt(command, through, sample)
  if ('got' in pulled) {
    const wanted = await command.wanted(sample, upstream)
    const missing = wanted.filter((one) => !pulled.got.includes(one))
    if (wanted.length === 0) return { verdict: 'red', why: 'nothing was wanted' }
    if (missing.length === 0) return { verdict: 'same' }
    return {
      verdict: 'red',
      why: `not as from the upstream: ${missing.join(', ')} of ${pulled.got.join(', ')}`,
    }
  }
  const direct = await attempt(command, upstream, sample)
  if ('got' in direct) return { verdict: 'red', why: `only through Headwater: ${pulled.failure}` }
  if (direct.failure === pulled.failure) return { verdict: 'limit', failure: pulled.failure }
  return { verdict: 'red', why: `through Headwater: ${pulled.failure}; from the upstream: ${direct.failure}` }
}

async function attempt(
  command: Command,
  place: Place,
  sample: Sample,
): Promise<{ got: readonly string[] } | { failure: string }> {
  try {
    return { got: await command.get(place, sample) }
  } catch (error) {
    if (!(error instanceof ClientFailure)) throw error
    return { failure: withoutPlaces(error.message, place) }
  }
}

/** A message without what differs between two runs: addresses, digests and times. */
export function withoutPlaces(message: string, { host, prefix }: Place): string {
  return message
    .replaceAll(`${host}/${prefix}`, '')
    .replaceAll(host, 'the registry')
    .replaceAll(prefix === '' ? '\0' : prefix, '')
    .replaceAll(/\b(sha256|sha512):[0-9a-f]{64,128}/g, '$1:…')
    .replaceAll(/time="[^"]*" level=\w+ msg="(.*)"/g, '$1')
    .replaceAll('\\"', '"')
    .trim()
}
