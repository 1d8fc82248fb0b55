import type { Observer } from '../observer.ts'
import type { Digest } from '../oci/digest.ts'
import type { OtherBringer } from '../store/blob-store.ts'
import type { Leases } from '../store/leases.ts'
import type { Fill, FillSource, OpenedSource } from './fill.ts'
import { createHeldLeases } from './held-leases.ts'
import { createShare } from './share.ts'

/** One transfer for all replicas: who reads an upstream, and who reads from the one that does. */
export interface Sharing {
  /** Ours to end. Never rejects: what cannot be agreed on is done alone. */
  claim(origin: string, digest: Digest): Promise<Share>
  /** What we bring, or are about to, for other replicas to read; undefined when we do not, or it came to nothing. */
  brought(origin: string, digest: Digest): Promise<Fill | undefined>
}

/** This replica's part in bringing one blob of one origin. */
export interface Share {
  /** Another replica may bring, or have brought, the same. */
  readonly isShared: boolean
  readonly follows: boolean
  /** The blob at the replica that brings it; undefined when it is on us now to ask the upstream. */
  follow(start: number, signal: AbortSignal): Promise<OpenedSource | undefined>
  /** First whom we follow; then what `stored` gives, if another ended it meanwhile; then the upstream. */
  sourceOf(upstream: FillSource, stored: StoredBlob): FillSource
  /** The upstream's body is being read: it is cut, to be taken up elsewhere, once another brings the blob. */
  reads(opened: OpenedSource): OpenedSource
  readonly other: OtherBringer | undefined
  /** The fill has started: others may read it until it has ended, and so does the share then. */
  began(fill: Fill): void
  end(): void
}

/** The blob as another replica may have put it into the store meanwhile. */
export interface StoredBlob {
  has(): Promise<boolean>
  open(start: number): Promise<OpenedSource | undefined>
}

export interface Peers {
  /** Undefined while other replicas cannot ask this one. */
  url(): string | undefined
  /**
   * Opens a fill at another replica, which proves that it is one before any of its bytes counts. Throws UpstreamError, and
   * so does the body: `timeout` where nothing was heard for a second, `unavailable` where it refused or was cut.
   */
  open(
    url: string,
    fill: { origin: string; digest: Digest },
    start: number,
    signal: AbortSignal,
  ): Promise<OpenedSource>
}

export interface SharingParts {
  readonly leases: Leases
  readonly peers: Peers
  readonly running: (origin: string, digest: Digest) => Fill | undefined
  readonly abandonUpload: (digest: Digest, uploadId: string) => Promise<void>
  readonly observer: Pick<Observer, 'storeFailure' | 'sharing'>
}

const alone: Share = {
  isShared: false,
  follows: false,
  follow: async () => undefined,
  sourceOf: (upstream) => upstream,
  reads: (opened) => opened,
  other: undefined,
  began() {},
  end() {},
}

/** For a replica that has no others. */
export const unshared: Sharing = { claim: async () => alone, brought: async () => undefined }

export function createSharing(parts: SharingParts): Sharing {
  const { leases, peers, running } = parts
  const holds = createHeldLeases(leases)
  const reach = { unknownSince: undefined }

  return {
    async claim(origin, digest) {
      const url = peers.url()
      if (url === undefined) return alone
      const share = createShare(
        { origin, digest, url, key: keyOf(origin, digest) },
        { ...parts, holds, reach },
      )
      await share.begin()
      return share
    },

    async brought(origin, digest) {
      const key = keyOf(origin, digest)
      if (!holds.get(key)) await holds.claimed(key)
      return running(origin, digest) ?? holds.get(key)?.started.promise
    },
  }
}

/** Injective: a digest holds no blank. */
function keyOf(origin: string, digest: Digest): string {
  return `${digest} ${origin}`
}
