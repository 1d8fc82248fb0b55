import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import type { Observer } from '../observer.ts'
import type { Digest } from '../oci/digest.ts'
import type { OtherBringer } from '../store/blob-store.ts'
import type { HeldLease, Lease, Leases } from '../store/leases.ts'
import { UpstreamError } from '../upstream/errors.ts'
import type { Fill, FillSource, OpenedSource } from './fill.ts'
import { takeover } from './takeover.ts'

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
  readonly observer: Pick<Observer, 'storeFailure'>
}

const renewEachMs = 1_000
/** Leases that cannot be asked are asked once more. */
const retryMs = 180
const retryWithinMs = 300
const lookEachMs = 150
/** How long a bringer's commit is waited for by those who have all the bytes. */
const commitMs = 30_000
const maxLeaders = 10

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

/** A lease that we hold, renewed until nobody needs it. */
interface Hold {
  readonly key: string
  lease: Lease
  /** Told when it was another's meanwhile: `anothers` if it still is. */
  readonly users: Set<OnLost>
  readonly started: PromiseWithResolvers<Fill | undefined>
  readonly timer: NodeJS.Timeout
  retry: NodeJS.Timeout | undefined
}

type OnLost = (now: 'anothers' | 'again') => void

export function createSharing({ leases, peers, running, abandonUpload, observer }: SharingParts): Sharing {
  const holds = new Map<string, Hold>()
  /** Since when leases could not be claimed. */
  let unknownSince: number | undefined

  function hold(key: string, lease: Lease, user: OnLost): Hold {
    const timer = setInterval(() => void renew(held), renewEachMs)
    timer.unref()
    const held: Hold = {
      key,
      lease,
      users: new Set([user]),
      started: Promise.withResolvers(),
      timer,
      retry: undefined,
    }
    holds.set(key, held)
    return held
  }

  async function renew(held: Hold): Promise<void> {
    // where it cannot be renewed it may be taken from us, which costs a transfer and nothing else
    const now = await leases.renew(held.key, held.lease).catch(() => undefined)
    if (now === 'ours' || held.users.size === 0) return
    if (now === undefined) return renewSoon(held)
    if (now === 'anothers') forget(held)
    for (const onLost of held.users) onLost(now)
  }

  function renewSoon(held: Hold): void {
    held.retry ??= setTimeout(() => {
      held.retry = undefined
      if (holds.get(held.key) === held) void renew(held)
    }, retryMs).unref()
  }

  function forget(held: Hold): void {
    clearInterval(held.timer)
    clearTimeout(held.retry)
    held.started.resolve(undefined)
    if (holds.get(held.key) === held) holds.delete(held.key)
  }

  function letGo(held: Hold, user: OnLost): void {
    held.users.delete(user)
    if (held.users.size > 0) return
    forget(held)
    leases.release(held.key, held.lease.token).catch(() => {})
  }

  function createShare(
    origin: string,
    digest: Digest,
    bringerKey: string,
    url: string,
  ): Share & { begin(): Promise<void> } {
    let key = bringerKey
    let held: Hold | undefined
    let leader: Lease | undefined
    let trouble: 'lost' | 'silent' | undefined
    let ended = false
    let leaders = 0
    /** Another brings it whom we cannot reach. */
    let isApart = false
    let isMaybeStored = false
    let storedBlob: StoredBlob | undefined
    let reading: Readable | undefined

    function end(): void {
      if (ended) return
      ended = true
      if (held) letGo(held, onLost)
    }

    function take(lease: Lease): void {
      leader = undefined
      held = hold(key, lease, onLost)
      if (ended) letGo(held, onLost)
      const fill = running(origin, digest)
      if (fill) held.started.resolve(fill)
    }

    /** We were not heard of for so long that another may bring it, or have brought it: it is not read twice for that. */
    function onLost(now: 'anothers' | 'again'): void {
      handOver(now).catch(() => {})
    }

    async function handOver(now: 'anothers' | 'again'): Promise<void> {
      const other = now === 'anothers' ? await leases.look(key) : undefined
      if (other) {
        held = undefined
        leader = other.lease
      } else {
        isMaybeStored = (await storedBlob?.has()) ?? false
        if (!isMaybeStored) return
      }
      reading?.destroy(new UpstreamError('unavailable', 'another replica brings the same'))
    }

    function reads(opened: OpenedSource): OpenedSource {
      reading = opened.body
      return opened
    }

    /** Of those who cannot reach the bringer one reads the upstream too, if they can reach each other. */
    async function goApart(): Promise<void> {
      leader = undefined
      isApart = true
      if (key !== bringerKey) return
      key = `${bringerKey} apart`
      await claim().catch(() => {})
    }

    async function claim(instead?: Lease): Promise<void> {
      const ours = holds.get(key)
      if (ours) {
        ours.users.add(onLost)
        held = ours
        leader = undefined
        return
      }
      const lease = { token: randomUUID(), url }
      const claimed = await leases.claim(key, lease, instead?.token)
      unknownSince = undefined
      if (!claimed.isOurs) {
        leader = claimed.lease
        return
      }
      take(lease)
      const uploadId = claimed.before?.uploadId
      if (uploadId !== undefined)
        abandonUpload(digest, uploadId).catch((error: unknown) => observer.storeFailure('blob.abort', error))
    }

    /** Until it is settled whom we follow, or that we follow nobody. */
    async function decide(seen: 'lost' | 'silent', signal: AbortSignal): Promise<void> {
      let since: number | undefined
      for (const followed = leader; leader === followed && followed !== undefined; ) {
        const now = await leases.look(key).catch(() => 'unknown' as const)
        since = now === 'unknown' ? (since ?? performance.now()) : undefined
        const unknownMs = since === undefined ? 0 : performance.now() - since
        const step = takeover({ leader: seen, unknownMs, ...sightOf(now, followed) })
        if (step.kind === 'wait') await pause(step.ms, undefined, { signal })
        else if (now === 'unknown' || leaders++ > maxLeaders) leader = undefined
        else if (step.kind === 'go-alone') await goApart()
        else await claim(followed).catch(() => {})
      }
    }

    async function follow(start: number, signal: AbortSignal): Promise<OpenedSource | undefined> {
      while (leader !== undefined) {
        try {
          if (trouble !== undefined) await decide(trouble, signal)
          trouble = undefined
          if (leader === undefined) break
          const opened = await peers.open(leader.url, { origin, digest }, start, signal)
          opened.body.once('error', noteTrouble)
          return opened
        } catch (error) {
          if (signal.aborted)
            throw new UpstreamError('timeout', 'another replica took too long', { cause: error })
          noteTrouble(error)
        }
      }
      return undefined
    }

    function noteTrouble(error: unknown): void {
      trouble = error instanceof UpstreamError && error.kind === 'timeout' ? 'silent' : 'lost'
    }

    return {
      isShared: true,
      get follows() {
        return leader !== undefined
      },
      async begin() {
        await claim().catch(async () => {
          // away for a moment perhaps; those who come when it is known to be away wait for nothing
          unknownSince ??= performance.now()
          if (performance.now() - unknownSince > retryWithinMs) return
          await pause(retryMs)
          await claim().catch(() => {})
        })
      },
      follow,

      reads,

      sourceOf(upstream, stored) {
        storedBlob = stored
        return {
          upstream: upstream.upstream,
          async open(start, signal) {
            isMaybeStored ||= leader !== undefined
            return (
              (await follow(start, signal)) ??
              (isMaybeStored ? await stored.open(start).catch(() => undefined) : undefined) ??
              reads(await upstream.open(start, signal))
            )
          },
        }
      },

      other: {
        get brings() {
          return leader !== undefined || isApart
        },
        async over() {
          for (let waited = 0; this.brings && waited < commitMs; waited += lookEachMs) {
            if ((await leases.look(bringerKey).catch(() => undefined)) === undefined) return
            await pause(lookEachMs)
          }
        },
        uploading(uploadId) {
          if (held === undefined) return
          held.lease = { ...held.lease, uploadId }
          void renew(held)
        },
      },

      began(fill) {
        held?.started.resolve(fill)
        void fill.done.then(end)
      },

      end,
    }
  }

  return {
    async claim(origin, digest) {
      const url = peers.url()
      if (url === undefined) return alone
      const share = createShare(origin, digest, keyOf(origin, digest), url)
      await share.begin()
      return share
    },

    async brought(origin, digest) {
      return running(origin, digest) ?? holds.get(keyOf(origin, digest))?.started.promise
    },
  }
}

function sightOf(now: HeldLease | 'unknown' | undefined, followed: Lease) {
  if (now === 'unknown') return { holder: 'unknown', leftMs: 0 } as const
  if (now === undefined) return { holder: 'nobody', leftMs: 0 } as const
  return { holder: now.lease.token === followed.token ? 'same' : 'another', leftMs: now.leftMs } as const
}

/** Injective: a digest holds no blank. */
function keyOf(origin: string, digest: Digest): string {
  return `${digest} ${origin}`
}
