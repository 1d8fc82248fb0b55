import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { peakMemory, temporaryFolder } from '../../rig/headwater.ts'
import { type ApiServer, apiServerParts, startApiServer } from '../../rig/kubernetes/api-server.ts'
import {
  countUnready,
  countWrites,
  perNamespace,
  storeCrowd,
  storeStrangers,
  writesBetween,
} from '../../rig/kubernetes/crowd.ts'
import { type Installation, install, type OperatorProcess, until } from '../../rig/kubernetes/installation.ts'
import { pickPort } from '../../rig/kubernetes/port.ts'
import { writeMeasurement } from '../measurement.ts'

const isShort = process.env.HEADWATER_SHORT === '1'
const size = isShort
  ? { namespaces: 8, strangers: 160, big: 16 }
  : { namespaces: 100, strangers: 2000, big: 200 }
const upstreams = size.namespaces * perNamespace.upstreams
const registries = size.namespaces * perNamespace.registries
const idleMs = isShort ? 60_000 : 600_000
/** What can be said of a machine on which nothing else runs. */
const goals = { readyMs: 90_000, memory: 400 * 2 ** 20 }

describeWithParts(
  apiServerParts,
  `an operator over ${registries} registries of ${upstreams} upstreams`,
  () => {
    let server: ApiServer
    let headwater: Installation
    let operator: OperatorProcess
    let upstream: FakeUpstream
    let readyMs: number
    const rows: string[] = []
    const mebibytes = (bytes: number) => Math.round(bytes / 2 ** 20)

    beforeAll(async () => {
      server = await startApiServer()
      const auth = { kind: 'basic' as const, username: 'me', password: 'canary-crowd' }
      upstream = await createFakeUpstream({ auth })
      headwater = await install(server)
      await storeCrowd(server, { namespaces: size.namespaces, upstreamUrl: upstream.url })
      await storeStrangers(server.client, { count: size.strangers, big: size.big })
    }, 600_000)
    afterAll(async () => {
      await headwater?.close()
      await Promise.all([upstream?.close(), server?.close()])
    })

    it('has all of them Ready, with one write for each document and at most two for each status', async () => {
      const keyFile = join(await temporaryFolder(), 'key')
      await writeFile(keyFile, `${randomBytes(32).toString('hex')}\n`)
      const internal = `127.0.0.1:${await pickPort()}`
      const before = await countWrites(server.client)
      const begun = performance.now()
      await headwater.startProxy({ args: ['--cluster-key-file', keyFile, '--internal-listen', internal] })
      operator = await headwater.startOperator([
        ...['--cluster-key-file', keyFile, '--proxy-endpoint', `http://${internal}`],
      ])
      for (let unready = 1; unready > 0; await sleep(1000)) {
        unready = await countUnready(server.client)
        readyMs = performance.now() - begun
        if (readyMs > 500_000) throw new Error(`${unready} are not Ready`)
      }
      await quiet()
      const writes = writesBetween(before, await countWrites(server.client))
      rows.push(`| all Ready after, s | ${Math.round(readyMs / 1000)} | at most 90 |`)
      for (const [what, count] of Object.entries(writes)) rows.push(`| ${what} | ${count} | |`)

      expect(writes['apply secrets']).toBe(upstreams + registries)
      expect(writes['apply upstreams/status']).toBeLessThanOrEqual(2 * upstreams)
      expect(writes['apply virtualregistries/status']).toBeLessThanOrEqual(2 * registries)
      if (!isShort) expect(readyMs).toBeLessThan(goals.readyMs)
    })

    it('touches an upstream and its own registries alone when it changes', async () => {
      const before = await countWrites(server.client)
      const path = '/apis/headwater.dev/v1alpha1/namespaces/team-1/upstreams/up-4'
      await server.client.request('PATCH', path, { spec: { revalidation: { validitySeconds: 60 } } })
      await headwater.condition('upstreams', 'up-4', { type: 'Ready', status: 'True', namespace: 'team-1' })
      await quiet()
      const writes = writesBetween(before, await countWrites(server.client))
      expect(writes['apply secrets']).toBe(1)
      expect(writes['apply upstreams/status']).toBeLessThanOrEqual(2)
      expect(writes['apply virtualregistries/status']).toBeLessThanOrEqual(2)
    })

    it('writes nothing but the Lease while nothing changes', async () => {
      await quiet()
      const before = await countWrites(server.client)
      await sleep(idleMs)
      const { 'put leases': renewed, ...others } = writesBetween(before, await countWrites(server.client))
      rows.push(
        `| written in ${idleMs / 60_000} idle minutes, less the Lease | ${Object.keys(others).length} | 0 |`,
      )
      expect(others).toEqual({})
      expect(renewed).toBeGreaterThan(idleMs / 10_000)
    })

    it('stays within its memory', async () => {
      const peak = await peakMemory(operator.pid)
      rows.push(`| highest resident memory of the operator (VmHWM), MiB | ${mebibytes(peak)} | under 400 |`)
      if (!isShort) writeMeasurement('operator-scale', [...about, ...rows])
      expect(peak).toBeLessThan(goals.memory)
      expect(operator.log()).not.toContain('canary-')
    })

    const about = [
      `${registries} VirtualRegistries over ${upstreams} Upstreams in ${size.namespaces} namespaces, and`,
      `${size.strangers} Secrets of other programs, of four types and ${size.big} of them of 300 kB, are stored before`,
      'the operator and one proxy start. API server, etcd, operator and proxy share the cores.',
      '',
      '| | | goal |',
      '|---|---|---|',
    ]

    /** Waits until nothing was written for a while but the Lease. */
    async function quiet(): Promise<void> {
      const seen = async () => {
        const { 'put leases': _, ...others } = Object.fromEntries(await countWrites(server.client))
        return JSON.stringify(others)
      }
      let last = ''
      await until(
        async () => {
          const before = last
          last = await seen()
          if (last === before) return true
          await sleep(8000)
          return false
        },
        () => 'writes go on',
        300_000,
      )
    }
  },
)
