import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, describe, expect, it } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { readManifest } from '../../../proxy/oci/manifest.ts'
import { createFleetFlight, type FleetFlight } from '../../../proxy/pull/fleet-flight.ts'
import { passedHead, passedManifest } from '../../../proxy/pull/passed-on.ts'
import { StoreUnavailableError } from '../../../proxy/store/breaker.ts'
import { createLocalLeases, type Leases } from '../../../proxy/store/leases.ts'
import { UpstreamError, type UpstreamErrorKind } from '../../../proxy/upstream/errors.ts'

let leases: Leases
let asked: number

beforeEach(() => {
  leases = createLocalLeases(() => performance.now())
  asked = 0
})

/** Each as a replica of its own. */
const replicas = (count: number): FleetFlight[] =>
  Array.from({ length: count }, () => createFleetFlight(leases))

function question(
  ask: () => Promise<string>,
  write: (answer: string) => string | undefined = (text) => text,
) {
  return {
    ask() {
      asked += 1
      return ask()
    },
    write,
    read: (text: string) => (text === 'unbelievable' ? undefined : `passed ${text}`),
  }
}

const answersAfter = (ms: number, answer: string) => async () => {
  await sleep(ms)
  return answer
}

describe('a question that many replicas have at once', () => {
  it('is asked once, and each has the answer soon after', async () => {
    const startedAt = performance.now()
    const answers = await Promise.all(
      replicas(100).map((flight) => flight('k', 5_000, question(answersAfter(300, 'yes')))),
    )
    expect(performance.now() - startedAt).toBeLessThan(1_500)
    expect(asked).toBe(1)
    expect(new Set(answers)).toEqual(new Set(['yes', 'passed yes']))
  })

  it('is asked once although the answer takes longer than a lease holds', async () => {
    const answers = await Promise.all(
      replicas(3).map((flight) => flight('k', 10_000, question(answersAfter(3_300, 'late')))),
    )
    expect([asked, answers.filter((one) => one.endsWith('late')).length]).toEqual([1, 3])
  })

  it('shares trouble, with what the upstream said of it', async () => {
    const fail = async () => {
      await sleep(100)
      throw new UpstreamError('rate-limited', 'too many', { status: 429, retryAfterSeconds: 7 })
    }
    const ended = await Promise.allSettled(replicas(10).map((flight) => flight('k', 5_000, question(fail))))
    expect(asked).toBe(1)
    for (const one of ended) {
      expect(one).toMatchObject({
        reason: { name: 'UpstreamError', kind: 'rate-limited', status: 429, retryAfterSeconds: 7 },
      })
    }
  })

  it.each(['credentials-refused', 'blocked'] as const satisfies UpstreamErrorKind[])(
    'does not share what may be in the way of one alone: %s',
    async (kind) => {
      const flights = replicas(3)
      const first = flights[0]!(
        'k',
        5_000,
        question(() => sleep(100).then(() => Promise.reject(new UpstreamError(kind, 'no')))),
      )
      await sleep(20)
      const others = flights.slice(1).map((flight) => flight('k', 5_000, question(answersAfter(10, 'yes'))))
      await expect(first).rejects.toMatchObject({ kind })
      expect(await Promise.all(others)).toEqual(['yes', 'yes'])
    },
  )

  it.each([
    ['is too long to be passed on', () => undefined],
    ['is not believed', () => 'unbelievable'],
  ])('is asked by all at once after the first, when the answer %s', async (_, write) => {
    const startedAt = performance.now()
    await Promise.all(
      replicas(20).map((flight) => flight('k', 5_000, question(answersAfter(200, 'yes'), write))),
    )
    expect(asked).toBe(20)
    expect(performance.now() - startedAt).toBeLessThan(1_500)
  })

  it('is asked anew by those who come later: an old answer is nobody’s', async () => {
    const [first, second] = replicas(2)
    await first!('k', 5_000, question(answersAfter(10, 'old')))
    await sleep(400)
    expect(await second!('k', 5_000, question(answersAfter(10, 'new')))).toBe('new')
  })
})

describe('the one who asks', () => {
  it('is followed by one other when it dies, and the rest have that one’s answer', async () => {
    await leases.claim('k', { token: 'dead', url: '' })
    const startedAt = performance.now()
    await Promise.all(replicas(20).map((flight) => flight('k', 10_000, question(answersAfter(100, 'yes')))))
    expect(asked).toBe(1)
    expect(performance.now() - startedAt).toBeLessThan(3_500)
  })

  it('is not waited for longer than whoever asks has time', async () => {
    await leases.claim('k', { token: 'slow', url: '' })
    const renewing = setInterval(() => void leases.renew('k', { token: 'slow', url: '' }), 200)
    const startedAt = performance.now()
    expect(await replicas(1)[0]!('k', 500, question(answersAfter(1, 'yes')))).toBe('yes')
    expect(performance.now() - startedAt).toBeLessThan(1_500)
    clearInterval(renewing)
  })

  it('asks by itself when leases cannot be had, at once', async () => {
    const away = () => Promise.reject(new StoreUnavailableError('Redis is away'))
    const flight = createFleetFlight({ claim: away, renew: away, release: away, look: away })
    expect(await flight('k', 5_000, question(answersAfter(1, 'yes')))).toBe('yes')
  })

  it('is left to itself when leases go while it is waited for', async () => {
    await leases.claim('k', { token: 'a', url: '' })
    const flight = createFleetFlight({
      ...leases,
      look: () => Promise.reject(new StoreUnavailableError('away')),
    })
    expect(await flight('k', 5_000, question(answersAfter(1, 'yes')))).toBe('yes')
  })

  it.each(['', 'nonsense', '[]', 'null', '{"trouble":{"kind":"strange"}}', '{"answer":3}'])(
    'is not believed when all it says is %j',
    async (word) => {
      await leases.claim('k', { token: 'a', url: '', word })
      expect(await replicas(1)[0]!('k', 5_000, question(answersAfter(1, 'yes')))).toBe('yes')
    },
  )
})

describe('what is passed on', () => {
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const config = {
    mediaType: 'application/vnd.oci.image.config.v1+json',
    digest: digestOf(Buffer.from('c')),
    size: 1,
  }
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [] }))
  const content = readManifest(bytes, mediaType)
  const manifest = { ...content, digest: digestOf(bytes), mediaType, bytes } as never

  it('is a manifest as it was', () => {
    expect(passedManifest.read(passedManifest.write(manifest) ?? '')).toEqual(manifest)
  })

  it('is no manifest whose bytes have another digest', () => {
    const other = { ...JSON.parse(passedManifest.write(manifest) ?? ''), digest: digestOf(Buffer.from('x')) }
    expect(passedManifest.read(JSON.stringify(other))).toBeUndefined()
  })

  it('is no manifest that is large', () => {
    expect(
      passedManifest.write({ ...(manifest as object), bytes: Buffer.alloc(300_000) } as never),
    ).toBeUndefined()
  })

  it.each([
    { digest: digestOf(bytes), size: 7, mediaType },
    { digest: undefined, size: undefined, mediaType: '' },
    { no: 404 },
  ])('is the answer to a HEAD as it was: %j', (head) => {
    expect(passedHead.read(passedHead.write(head as never) ?? '')).toEqual(head)
  })

  it.each([
    '',
    '3',
    '{}',
    '{"mediaType":7}',
    '{"no":"404"}',
    '{"digest":"sha256:x","mediaType":null,"bytes":""}',
  ])('is nothing that says %j', (text) => {
    expect([passedHead.read(text), passedManifest.read(text)]).toEqual([undefined, undefined])
  })
})
