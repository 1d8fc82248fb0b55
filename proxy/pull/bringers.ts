import type { Digest } from '../oci/digest.ts'
import type { Lease } from '../store/leases.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { ignore, type OpenedSource } from './fill-transfer.ts'
import type { Peers } from './sharing.ts'

/** Those who hold a lease on one blob, as they are read from. */
export interface Bringers {
  /** Throws UpstreamError, as `Peers` does, and for whoever has our own address: we would read from ourselves. */
  open(lease: Lease, start: number, signal: AbortSignal): Promise<OpenedSource>
  /** Undefined for one who answers. */
  refusalOf(lease: Lease): Promise<unknown>
}

/** For one who is said to bring it to answer those who bring it themselves. */
const reachMs = 2_000

export function createBringers({
  peers,
  url,
  origin,
  digest,
}: {
  peers: Peers
  url: string
  origin: string
  digest: Digest
}): Bringers {
  async function open(lease: Lease, start: number, signal: AbortSignal): Promise<OpenedSource> {
    if (lease.url === url)
      throw new UpstreamError('unavailable', 'another replica has the --internal-url of this one')
    return peers.open(lease.url, { origin, digest }, start, signal)
  }

  return {
    open,
    async refusalOf(lease) {
      try {
        const { body } = await open(lease, 0, AbortSignal.timeout(reachMs))
        body.on('error', ignore).destroy()
        return undefined
      } catch (error) {
        return error
      }
    },
  }
}

export function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message
}
