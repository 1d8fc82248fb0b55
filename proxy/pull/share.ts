import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import type { SharingEvent } from '../observer.ts'
import type { Digest } from '../oci/digest.ts'
import type { Lease } from '../store/leases.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { createBringers, wordsOf } from './bringers.ts'
import { HandedOverError, ignore, type OpenedSource } from './fill-transfer.ts'
import { type Held, type HeldLeases, type Lost, retryMs } from './held-leases.ts'
import type { Share, SharingParts, StoredBlob } from './sharing.ts'
import { type Sight, watchLeader } from './takeover.ts'

interface ShareParts extends SharingParts {
  readonly holds: HeldLeases
  /** Since when leases could not be claimed, for all shares. */
  readonly reach: { unknownSince: number | undefined }
}

const retryWithinMs = 300
const lookEachMs = 150
/** How long a bringer's commit is waited for by those who have all the bytes. */
const commitMs = 30_000
const maxLeaders = 10
/**
 * When those who ask the upstream without the blob's lease look whether another has it. No later than that where they
 * did from the beginning: one who began after us would have us wait for bytes that we have asked for ourselves.
 */
const settleAfterMs = [150, 250, 400, 600, 600]
const settleFollowersAfterMs = [...settleAfterMs, ...Array.from({ length: 10 }, () => 600)]
/** How long those who have slept ask whether they still hold their lease: their connections woke up dead. */
const confirmMs = 2_000
/** How often it is asked for by those who know, or have reason to think, that it is stored. */
const storedAttempts = 4

export function createShare(
  { origin, digest, url, key }: { origin: string; digest: Digest; url: string; key: string },
  { leases, peers, running, abandonUpload, observer, holds, reach }: ShareParts,
): Share & { begin(): Promise<void> } {
  const apartKey = `${key} apart`
  const bringers = createBringers({ peers, url, origin, digest })
  let held: Held | undefined
  let leader: Lease | undefined
  let seen: Sight['leader'] | undefined
  /** The same in words. */
  let trouble: string | undefined
  /** One who brings it while we cannot reach it. */
  let unreachable: Lease | undefined
  /** One who brings it has refused us while we read it ourselves. */
  let isRefused = false
  /** Others who follow now are as far as we are. */
  let hasFollowed = false
  let ended = false
  let leaders = 0
  /** Another brought it, or was about to. */
  let isMaybeStored = false
  let isStored = false
  /** We have slept: whether the lease is still ours is to be asked before the upstream is. */
  let isUnsure = false
  let handingOver: Promise<void> | undefined
  let settling: NodeJS.Timeout | undefined
  let storedBlob: StoredBlob | undefined
  let reading: Readable | undefined

  function tell(step: SharingEvent['step'], at?: Lease): void {
    observer.sharing({ digest, step, leader: at?.url, seen, trouble })
  }

  function end(): void {
    ended = true
    clearTimeout(settling)
    if (held) holds.letGo(held, onLost)
  }

  function take(ours: string, lease: Lease): void {
    leader = undefined
    held = holds.hold(ours, lease, onLost)
    if (ours === key) unreachable = undefined
    if (ended) holds.letGo(held, onLost)
    const fill = running(origin, digest)
    if (fill) held.started.resolve(fill)
  }

  /** We were not heard of for so long that another may bring it, or have brought it: it is not read twice for that. */
  function onLost(lost: Lost): void {
    if (lost === 'late') {
      isUnsure = true
      reading?.destroy(new UpstreamError('unavailable', 'this replica has slept'))
    } else {
      handingOver = handOver(lost).catch(() => settle())
    }
  }

  async function handOver(lost: 'anothers' | 'again'): Promise<void> {
    const was = held?.key ?? key
    if (lost === 'anothers') held = undefined
    const other = lost === 'anothers' ? await leases.look(was) : undefined
    if (other) leader = other.lease
    else isStored ||= await hasStored()
    if (other || isStored) await cutOver()
  }

  async function hasStored(): Promise<boolean> {
    for (let attempt = 1; storedBlob; attempt++) {
      if (await storedBlob.has()) return true
      if (!isUnsure || attempt === storedAttempts) return false
      await pause(retryMs)
    }
    return false
  }

  async function openStored(start: number): Promise<OpenedSource | undefined> {
    for (let attempt = 1; storedBlob && (isStored || isMaybeStored); attempt++) {
      const opened = await storedBlob.open(start).catch(() => undefined)
      if (opened || !isStored || attempt === storedAttempts) return opened
      await pause(retryMs)
    }
    return undefined
  }

  /**
   * What we read goes on until the one who brings the same has answered: two who refuse each other would take turns for ever.
   * Refused once, it goes on to its end.
   */
  async function cutOver(): Promise<void> {
    const to = leader
    const isReading = reading && !reading.destroyed
    const refusal = to && isReading && !isRefused ? await bringers.refusalOf(to) : undefined
    if (leader !== to) return
    if (to && refusal) leaveBe(to, refusal)
    if (isRefused) {
      leader = undefined
      return
    }
    tell('hands-over', to)
    reading?.destroy(new HandedOverError())
  }

  function leaveBe(from: Lease, refusal: unknown): void {
    isRefused = true
    unreachable = from
    noteTrouble(refusal)
    tell('goes-apart', from)
    seen = trouble = undefined
  }

  /** Ours, one that is ours already, or another's whom we follow from now on. */
  async function claim(wanted: string, instead?: Lease): Promise<void> {
    if (!join(wanted)) await holds.claiming(wanted, () => claimNow(wanted, instead))
  }

  async function claimNow(wanted: string, instead?: Lease): Promise<void> {
    const lease = { token: randomUUID(), url }
    let claimed = await leases.claim(wanted, lease, instead?.token)
    // of our own, and we know nothing of it: the answer that gave it to us was lost, or it is of our last life
    if (!claimed.isOurs && claimed.lease.url === url && !holds.get(wanted))
      claimed = await leases.claim(wanted, lease, claimed.lease.token)
    reach.unknownSince = undefined
    if (join(wanted)) return
    if (!claimed.isOurs) {
      leader = claimed.lease
      return
    }
    take(wanted, lease)
    const uploadId = claimed.before?.uploadId
    if (uploadId !== undefined)
      abandonUpload(digest, uploadId).catch((error: unknown) => observer.storeFailure('blob.abort', error))
  }

  function join(wanted: string): boolean {
    const ours = holds.get(wanted)
    if (!ours) return false
    if (ended) return true
    holds.join(ours, onLost)
    held = ours
    leader = undefined
    return true
  }

  async function begin(): Promise<void> {
    try {
      await claim(key).catch(async (error: unknown) => {
        // away for a moment perhaps; those who come when it is known to be away wait for nothing
        reach.unknownSince ??= performance.now()
        if (performance.now() - reach.unknownSince > retryWithinMs) throw error
        await pause(retryMs)
        await claim(key)
      })
      tell(leader ? 'follows' : 'leads', leader)
    } catch {
      goAlone()
    }
  }

  function goAlone(from?: Lease): void {
    leader = undefined
    // it may live on
    if (seen === 'silent') unreachable ??= from
    tell('goes-alone')
    settle()
  }

  /** Of those who cannot reach the bringer one reads the upstream too, if they can reach each other. */
  async function goApart(from: Lease): Promise<void> {
    leader = undefined
    if (!unreachable) {
      unreachable = from
      await claim(apartKey).catch(() => {})
    }
    if (!leader) settle()
    tell(leader ? 'follows' : 'goes-apart', leader ?? from)
  }

  /** Whoever asks the upstream without the blob's lease takes it where it is free, and follows whom it sees with it. */
  function settle(attempt = 0): void {
    const ms = (hasFollowed ? settleFollowersAfterMs : settleAfterMs)[attempt]
    if (ms === undefined || ended) return
    settling = setTimeout(() => {
      void lookAgain().then(
        (isSettled) => isSettled || settle(attempt + 1),
        () => settle(attempt + 1),
      )
    }, ms).unref()
  }

  async function lookAgain(): Promise<boolean> {
    if (ended || leader || isRefused || held?.key === key) return true
    const now = await leases.look(key)
    if (!unreachable || now?.lease.token !== unreachable.token) return enter()
    if (!held) await joinApart(unreachable)
    return leader !== undefined
  }

  /** The lease is nobody's, or that of one whom we may reach. */
  async function enter(): Promise<boolean> {
    const apart = held
    await claim(key)
    if (apart) holds.letGo(apart, onLost)
    if (held === apart) held = undefined
    unreachable = undefined
    if (leader) await cutOver()
    else tell('leads')
    return true
  }

  async function joinApart(from: Lease): Promise<void> {
    await claim(apartKey)
    if (leader) await cutOver()
    else tell('goes-apart', from)
  }

  /** Until it is settled whom we follow, or that we follow nobody. */
  async function decide(from: Lease, sight: Sight['leader'], signal: AbortSignal): Promise<void> {
    const wanted = unreachable ? apartKey : key
    const next = watchLeader(leases, { key: wanted, lease: from, seen: sight })
    while (leader === from) {
      const step = await next()
      if (step.kind === 'wait') await pause(step.ms, undefined, { signal })
      else if (step.kind === 'go-apart') await goApart(from)
      else if (step.kind === 'go-alone') goAlone(from)
      else await takeOver(wanted, from)
    }
  }

  async function takeOver(at: string, from: Lease): Promise<void> {
    if (leaders++ > maxLeaders) return goAlone(from)
    try {
      await claim(at, from)
    } catch {
      return // looked at again
    }
    tell(leader ? 'follows' : 'takes-over', leader ?? from)
  }

  async function follow(start: number, signal: AbortSignal): Promise<OpenedSource | undefined> {
    while (leader !== undefined) {
      try {
        if (seen !== undefined) await decide(leader, seen, signal)
        seen = trouble = undefined
        if (leader === undefined) break
        const opened = await bringers.open(leader, start, signal)
        opened.body.once('error', noteTrouble)
        hasFollowed = true
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
    seen = error instanceof UpstreamError && error.kind === 'timeout' ? 'silent' : 'lost'
    trouble = wordsOf(error)
  }

  function reads(opened: OpenedSource): OpenedSource {
    reading = opened.body
    reading.on('error', ignore)
    // settled while it was being opened
    if (leader) void cutOver()
    return opened
  }

  async function confirm(): Promise<void> {
    const until = performance.now() + confirmMs
    while (held && (await holds.renew(held)) === undefined && performance.now() < until) await pause(retryMs)
    await handingOver
    isUnsure = false
  }

  return {
    isShared: true,
    get follows() {
      return leader !== undefined
    },
    begin,
    follow,
    reads,

    sourceOf(upstream, stored) {
      storedBlob = stored
      return {
        upstream: upstream.upstream,
        async open(start, signal) {
          if (isUnsure) await confirm()
          isMaybeStored ||= leader !== undefined
          return (
            (await follow(start, signal)) ??
            (await openStored(start)) ??
            reads(await upstream.open(start, signal))
          )
        },
      }
    },

    other: {
      get brings() {
        return leader !== undefined || unreachable !== undefined
      },
      async over() {
        for (let waited = 0; this.brings && waited < commitMs; waited += lookEachMs) {
          if ((await leases.look(key).catch(() => undefined)) === undefined) return
          await pause(lookEachMs)
        }
      },
      uploading(uploadId) {
        if (held === undefined) return
        held.lease = { ...held.lease, uploadId }
        void holds.renew(held)
      },
    },

    began(fill) {
      held?.started.resolve(fill)
      void fill.done.then(end)
    },

    end,
  }
}
