import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { Lease, Leases } from '../../proxy/store/leases.ts'

/** The behaviour that all Leases owe their callers. */
export function describeLeases(name: string, create: () => Promise<Leases>): void {
  const a: Lease = { token: 'a', url: 'http://a' }
  const b: Lease = { token: 'b', url: 'http://b' }
  const c: Lease = { token: 'c', url: 'http://c' }

  describe(`${name} as Leases`, () => {
    it('are held by one at a time', async () => {
      const leases = await create()
      expect(await leases.claim('k', a)).toEqual({ isOurs: true, before: undefined })
      expect(await leases.claim('k', b)).toMatchObject({ isOurs: false, lease: a })
      expect(await leases.claim('other', b)).toMatchObject({ isOurs: true })
    })

    it('give one of many that take over what the dead one held', async () => {
      const leases = await create()
      await leases.claim('k', { ...a, uploadId: 'u1' })
      expect(await leases.claim('k', b, 'a')).toMatchObject({ isOurs: true, before: { uploadId: 'u1' } })
      expect(await leases.claim('k', c, 'a')).toMatchObject({ isOurs: false, lease: b })
    })

    it('hold for three seconds, and again for three when renewed', async () => {
      const leases = await create()
      await leases.claim('k', a)
      await sleep(1_000)
      const left = (await leases.look('k'))?.leftMs ?? 0
      expect(left).toBeGreaterThan(1_000)
      expect(left).toBeLessThan(2_100)
      expect(await leases.renew('k', { ...a, uploadId: 'u2' })).toBe('ours')
      const renewed = await leases.look('k')
      expect(renewed?.lease.uploadId).toBe('u2')
      expect(renewed?.leftMs).toBeGreaterThan(2_500)
      await sleep(3_050)
      expect(await leases.look('k')).toBeUndefined()
      expect(await leases.claim('k', b)).toMatchObject({ isOurs: true })
    })

    it('tell a late holder that they are lost, and come back to one that was forgotten', async () => {
      const leases = await create()
      await leases.claim('k', a)
      await leases.claim('k', b, 'a')
      expect(await leases.renew('k', a)).toBe('anothers')
      await leases.release('k', 'a')
      expect((await leases.look('k'))?.lease.token).toBe('b')
      await leases.release('k', 'b')
      expect(await leases.renew('k', b)).toBe('again')
    })
  })
}
