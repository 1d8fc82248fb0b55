import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, it } from 'vitest'
import type { SharingEvent } from '../../../proxy/observer.ts'
import type { Digest } from '../../../proxy/oci/digest.ts'
import type { Fill } from '../../../proxy/pull/fill.ts'
import type { OpenedSource } from '../../../proxy/pull/fill-transfer.ts'
import { createSharing, type Share } from '../../../proxy/pull/sharing.ts'
import { createLocalLeases, type Leases } from '../../../proxy/store/leases.ts'
import { UpstreamError } from '../../../proxy/upstream/errors.ts'

const digest = `sha256:${'ab'.repeat(32)}` as Digest
const signal = new AbortController().signal
const shares: Share[] = []
afterEach(() => {
  for (const share of shares.splice(0)) share.end()
})

interface Replica {
  share(): Promise<Share>
  /** Asks for the blob as a fill does, and says where it is read. */
  open(share: Share): Promise<{ from: string; body: Readable }>
  readonly steps: string[]
  /** The blob is in the store from now on. */
  isStored: boolean
}

/** `peers` says what comes of asking the replica at an address; unset, it answers. */
function replica(
  name: string,
  leases: Leases,
  peers: (url: string) => UpstreamError | undefined = () => undefined,
): Replica {
  const steps: string[] = []
  const opened = (from: string): OpenedSource & { from: string } => {
    const body = new Readable({ read() {} })
    body.on('error', () => {})
    return { body, start: 0, size: 10, endsByClose: false, from }
  }
  const sharing = createSharing({
    leases,
    peers: {
      url: () => name,
      async open(url) {
        const trouble = peers(url)
        if (trouble) throw trouble
        return opened(url)
      },
    },
    running: () => undefined,
    abandonUpload: async () => {},
    observer: {
      storeFailure() {},
      sharing: ({ step, leader }: SharingEvent) => steps.push(leader ? `${step} ${leader}` : step),
    },
  })
  const one: Replica = {
    steps,
    isStored: false,
    async share() {
      const share = await sharing.claim('hub', digest)
      shares.push(share)
      return share
    },
    async open(share) {
      const source = share.sourceOf(
        { upstream: 'a/hub', open: async () => opened('upstream') },
        {
          has: async () => one.isStored,
          open: async () => (one.isStored ? opened('store') : undefined),
        },
      )
      const { from, body } = (await source.open(0, signal)) as OpenedSource & { from: string }
      return { from, body }
    },
  }
  return one
}

const localLeases = () => createLocalLeases(() => performance.now())
const silence = () => new UpstreamError('timeout', 'nothing was heard')
const refusal = () => new UpstreamError('unavailable', 'refused')
const away = async () => Promise.reject(new Error('away'))

it('has one replica ask the upstream, and the others ask that one', async () => {
  const leases = localLeases()
  const [a, b] = [replica('a', leases), replica('b', leases)]
  expect((await a.open(await a.share())).from).toBe('upstream')
  expect((await b.open(await b.share())).from).toBe('a')
  expect([a.steps, b.steps]).toEqual([['leads'], ['follows a']])
})

it('has those who read of a lease before we know that it is ours wait for what we bring', async () => {
  const leases = localLeases()
  const answer = Promise.withResolvers<void>()
  const sharing = createSharing({
    leases: {
      ...leases,
      async claim(...args) {
        const claimed = await leases.claim(...args)
        await answer.promise
        return claimed
      },
    },
    peers: { url: () => 'a', open: () => away() },
    running: () => undefined,
    abandonUpload: async () => {},
    observer: { storeFailure() {}, sharing() {} },
  })
  const claiming = sharing.claim('hub', digest)
  const asked = sharing.brought('hub', digest)
  answer.resolve()
  const share = await claiming
  shares.push(share)
  const fill = { done: new Promise(() => {}) } as Fill
  share.began(fill)
  expect(await asked).toBe(fill)
})

it('asks the upstream for one who was away from the leases no longer than it takes to find who has it', async () => {
  const leases = localLeases()
  let isAway = true
  const flaky: Leases = {
    ...leases,
    claim: (...args) => (isAway ? away() : leases.claim(...args)),
    look: (key) => (isAway ? away() : leases.look(key)),
  }
  const [a, b] = [replica('a', leases), replica('b', flaky)]
  await a.share()
  const share = await b.share()
  const { from, body } = await b.open(share)
  expect(from).toBe('upstream')
  isAway = false
  await expect.poll(() => body.destroyed, { timeout: 5_000 }).toBe(true)
  expect((await b.open(share)).from).toBe('a')
  expect(b.steps).toEqual(['goes-alone', 'hands-over a'])
})

it('takes the lease for one who asks the upstream without, where nobody has it', async () => {
  const leases = localLeases()
  let isAway = true
  const flaky: Leases = { ...leases, claim: (...args) => (isAway ? away() : leases.claim(...args)) }
  const [a, b] = [replica('a', leases), replica('b', flaky)]
  const { body } = await b.open(await b.share())
  isAway = false
  await expect.poll(() => b.steps, { timeout: 5_000 }).toEqual(['goes-alone', 'leads'])
  expect(body.destroyed).toBe(false)
  expect((await a.open(await a.share())).from).toBe('b')
})

it('leads where the answer that said so was lost, and does not follow itself', async () => {
  const leases = localLeases()
  let claims = 0
  const a = replica('a', {
    ...leases,
    async claim(...args) {
      const claimed = await leases.claim(...args)
      if (claims++ === 0) throw new Error('late')
      return claimed
    },
  })
  const share = await a.share()
  expect(share.follows).toBe(false)
  expect(a.steps).toEqual(['leads'])
})

it('has one of those who cannot reach a leader that lives ask the upstream, and the others ask that one', async () => {
  const leases = localLeases()
  const isCut = (url: string) => (url === 'a' ? silence() : undefined)
  const all = [replica('a', leases), replica('b', leases, isCut), replica('c', leases, isCut)] as const
  const [a, b, c] = all
  await a.share()
  const both = [await b.share(), await c.share()] as const
  const opened = await Promise.all([b.open(both[0]), c.open(both[1])])
  expect(opened.map(({ from }) => from).filter((from) => from === 'upstream')).toHaveLength(1)
  expect(opened.map(({ from }) => from).filter((from) => from !== 'a')).toHaveLength(2)
  expect(a.steps).toEqual(['leads'])
})

it.each(['is gone', 'lives'])(
  'has followers for whom leader and leases were away agree who asks the upstream where it %s',
  async (leader) => {
    const leases = localLeases()
    let isAway = false
    const flaky: Leases = {
      ...leases,
      claim: (...args) => (isAway ? away() : leases.claim(...args)),
      look: (key) => (isAway ? away() : leases.look(key)),
    }
    let isLost = false
    const isCut = (url: string) => (isLost && url === 'a' ? silence() : undefined)
    const [a, b, c] = [replica('a', leases), replica('b', flaky, isCut), replica('c', flaky, isCut)]
    const lost = await a.share()
    const both = [
      [b, await b.share()],
      [c, await c.share()],
    ] as const
    if (leader === 'is gone') lost.end()
    isAway = isLost = true
    const opened = await Promise.all(both.map(([one, share]) => one.open(share)))
    expect(opened.map(({ from }) => from)).toEqual(['upstream', 'upstream'])
    isAway = false
    await expect.poll(() => opened.filter(({ body }) => body.destroyed).length, { timeout: 5_000 }).toBe(1)
    const follower = opened[0]?.body.destroyed ? both[0] : both[1]
    expect((await follower[0].open(follower[1])).from).toBe(follower[0] === b ? 'c' : 'b')
  },
)

it('reads on what it reads where the one who took its place refuses it too', async () => {
  const leases = localLeases()
  const [a, b] = [replica('a', leases, refusal), replica('b', leases, refusal)]
  const own = await a.open(await a.share())
  expect((await b.open(await b.share())).from).toBe('upstream')
  await expect.poll(() => a.steps, { timeout: 5_000 }).toContain('goes-apart b')
  await sleep(2_500)
  expect(own.body.destroyed).toBe(false)
  expect([a.steps, b.steps]).toEqual([
    ['leads', 'goes-apart b'],
    ['follows a', 'takes-over a'],
  ])
})

it('asks no other once it was refused, though it hears of one after another', async () => {
  const leases = localLeases()
  const asked: string[] = []
  const refusing = (url: string) => {
    asked.push(url)
    return refusal()
  }
  const c = replica('c', leases, refusing)
  const own = await c.open(await c.share())
  for (const name of ['a', 'b', 'd']) {
    const other = replica(name, leases, refusal)
    expect((await other.open(await other.share())).from).toBe('upstream')
    await sleep(1_200)
  }
  expect([asked, own.body.destroyed]).toEqual([['a'], false])
})

it('does not read from itself where another has its address', async () => {
  const leases = localLeases()
  const asked: string[] = []
  const seen = (url: string) => void asked.push(url)
  const [a, twin] = [replica('a', leases, seen), replica('a', leases, seen)]
  const own = await a.open(await a.share())
  expect((await twin.open(await twin.share())).from).toBe('upstream')
  await expect.poll(() => a.steps, { timeout: 5_000 }).toContain('goes-apart a')
  expect([asked, own.body.destroyed]).toEqual([[], false])
})

it('asks who has the lease after a sleep, before it asks the upstream on', async () => {
  const leases = localLeases()
  const [a, b] = [replica('a', leases), replica('b', leases)]
  const share = await a.share()
  const { body } = await a.open(share)
  // as a stopped process does
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_200)
  expect((await b.share()).follows).toBe(false)
  await expect.poll(() => body.destroyed).toBe(true)
  expect((await a.open(share)).from).toBe('b')
})

it('reads from the store what another has brought while it slept', async () => {
  const a = replica('a', localLeases())
  const share = await a.share()
  const { body } = await a.open(share)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_200)
  setTimeout(() => {
    a.isStored = true
  }, 250)
  await expect.poll(() => body.destroyed).toBe(true)
  await sleep(50)
  expect((await a.open(share)).from).toBe('store')
})
