import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { expect } from 'vitest'
import type { FakeUpstream } from './fake-upstream.ts'
import type { Fleet, Replica } from './fleet.ts'
import { type Aftermath, type Invariants, watchInvariants } from './invariants.ts'

export interface FleetInvariants {
  begin(): void
  /** Of all but the one that is lost. */
  expect(aftermath: Aftermath, lost?: Replica): Promise<void>
  stop(): Promise<void>
}

/** I1 to I9 on every replica at once. */
export async function watchFleet(fleet: Fleet, upstreams: readonly FakeUpstream[]): Promise<FleetInvariants> {
  const watching = new Map<Replica, Invariants>()
  for (const replica of fleet.replicas) {
    const one = await watchInvariants(replica.headwater, {
      watched: () => upstreams.map((upstream) => ({ upstream })),
      bystander: { path: '/v2/default/bystander', cached: 'calm/manifests/v1' },
      shared: { blobs: 'spool/blobs', connections: 60, scrub: () => expectBucketHashes(fleet) },
    })
    watching.set(replica, one)
  }
  return {
    begin() {
      for (const one of watching.values()) one.begin()
    },
    async expect(aftermath, lost) {
      for (const [replica, one] of watching) if (replica !== lost) await one.expect(aftermath)
    },
    async stop() {
      for (const one of watching.values()) await one.stop()
    },
  }
}

/** I1 of the bucket. */
export async function expectBucketHashes(fleet: Fleet): Promise<void> {
  const files = (await fleet.objects('/blobs/')).filter((file) =>
    /\/blobs\/sha256\/..\/[0-9a-f]{64}$/.test(file),
  )
  for (const file of files) {
    const bytes = await readFile(file)
    expect(createHash('sha256').update(bytes).digest('hex'), 'I1').toBe(basename(file))
  }
}
