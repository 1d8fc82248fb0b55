import { execFileSync } from 'node:child_process'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createFakeUpstream, type FakeUpstream, fault } from '../../rig/fake-upstream.ts'
import { type Headwater, startHeadwater, temporaryFolder } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import { getRequest, pull, rawClient } from '../../rig/pulling.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'

const mebi = 1024 * 1024
let upstream: FakeUpstream
let image: SampleImage
let headwater: Headwater

beforeEach(async () => {
  upstream = await createFakeUpstream()
  image = await pushImage(contentStore(upstream.content), 'app', {
    tag: 'v1',
    layers: [20 * mebi],
    inMemory: true,
  })
})

afterEach(async () => {
  await headwater?.stop().catch(() => {})
  await upstream.close()
})

async function start(options: Partial<Parameters<typeof startHeadwater>[0]> = {}): Promise<void> {
  const resources = [...upstreamResources('up', { url: upstream.url }), registryResource('hub', ['up'])]
  headwater = await startHeadwater({ resources, ...options })
}

const layerPath = () => `/v2/default/hub/app/blobs/${image.layers[0]!.digest}`
const manifestPath = '/v2/default/hub/app/manifests/v1'

async function expectNothingLeft(): Promise<void> {
  await expect.poll(() => headwater.temporaryFiles(), { timeout: 5_000 }).toEqual([])
  await expect.poll(() => headwater.metric('headwater_fills_in_progress')).toBe(0)
}

describe('P3: SIGTERM', () => {
  it('makes it not ready at once, lets running streams finish, and ends with 0', async () => {
    await start({ args: ['--drain-seconds', '20'] })
    upstream.always('GET', '/v2/app/blobs/*', fault.slow(10 * mebi))
    const streaming = pull(headwater, layerPath())
    await expect.poll(() => headwater.metric('headwater_fills_in_progress')).toBe(1)
    headwater.signal('SIGTERM')
    await expect.poll(() => headwater.ready().catch(() => 'gone')).not.toBe(true)
    expect((await streaming).digest).toBe(image.layers[0]!.digest)
    expect(await headwater.exited).toBe(0)
  })

  it('P4: cuts a client that never ends when the time is over, and still ends with 0', async () => {
    await start({ args: ['--drain-seconds', '1'] })
    await pull(headwater, layerPath())
    const client = rawClient(headwater, getRequest(layerPath()), { reading: false })
    await sleep(300)
    const startedAt = performance.now()
    headwater.signal('SIGTERM')
    expect(await headwater.exited).toBe(0)
    expect(performance.now() - startedAt).toBeLessThan(5_000)
    client.socket.destroy()
  })

  it('P5: may come again, and SIGINT too', async () => {
    await start({ args: ['--drain-seconds', '2'] })
    const client = rawClient(headwater, getRequest(layerPath()), { reading: false })
    await sleep(300)
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGTERM'] as const) headwater.signal(signal)
    expect(await headwater.exited).toBe(0)
    client.socket.destroy()
  })
})

describe('P6: a full disk', () => {
  let folder: string

  beforeEach(async () => {
    folder = await temporaryFolder()
  })

  afterEach(() => {
    try {
      execFileSync('umount', ['-l', folder], { stdio: 'ignore' })
    } catch {
      // it was not mounted: the test said why
    }
  })

  it('fails no pull: bytes stream through, nothing is left behind', async (context) => {
    if (process.getuid?.() !== 0) return context.skip('mounting a small disk needs root')
    await mkdir(folder, { recursive: true })
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', folder])
    await start({ data: join(folder, 'data') })
    const pulls = await Promise.all(Array.from({ length: 5 }, () => pull(headwater, layerPath())))
    for (const { digest } of pulls) expect(digest).toBe(image.layers[0]!.digest)
    expect((await pull(headwater, manifestPath)).digest).toBe(image.manifest.digest)
    await expectNothingLeft()
  })
})

describe('P7: no more descriptors', () => {
  it('is survived, and over when they are there again', async () => {
    await start()
    await pull(headwater, manifestPath)
    const used = await headwater.openDescriptors()
    execFileSync('prlimit', ['--pid', String(headwater.pid), `--nofile=${used + 20}:${used + 20}`])
    const clients = Array.from({ length: 60 }, () => rawClient(headwater, getRequest(manifestPath)))
    await sleep(1_000)
    for (const { socket } of clients) socket.destroy()
    await expect
      .poll(
        () =>
          pull(headwater, manifestPath)
            .then(({ status }) => status)
            .catch(() => 0),
        { timeout: 10_000 },
      )
      .toBe(200)
    expect((await pull(headwater, layerPath())).digest).toBe(image.layers[0]!.digest)
    expect(await headwater.ready()).toBe(true)
  })
})

describe('P10: stopped and continued', () => {
  it('goes on with what it was at', async () => {
    await start()
    upstream.always('GET', '/v2/app/blobs/*', fault.slow(10 * mebi))
    const streaming = pull(headwater, layerPath())
    await expect.poll(() => headwater.metric('headwater_fills_in_progress')).toBe(1)
    headwater.signal('SIGSTOP')
    await sleep(3_000)
    headwater.signal('SIGCONT')
    expect((await streaming).digest).toBe(image.layers[0]!.digest)
    expect((await pull(headwater, manifestPath)).status).toBe(200)
    await expectNothingLeft()
  })
})

describe('clients', () => {
  it('client C1: the one that began a fill may go; the others get all of it at full speed, from one transfer', async () => {
    await start()
    upstream.always('GET', '/v2/app/blobs/*', fault.slow(20 * mebi))
    const leader = rawClient(headwater, getRequest(layerPath()))
    await expect.poll(() => leader.received()).toBeGreaterThan(0)
    const waiting = Array.from({ length: 10 }, () => pull(headwater, layerPath()))
    await expect.poll(() => leader.received()).toBeGreaterThan(2 * mebi)
    leader.socket.resetAndDestroy()
    for (const one of await Promise.all(waiting)) expect(one.digest).toBe(image.layers[0]!.digest)
    expect(upstream.requests({ method: 'GET', path: '/v2/app/blobs/*' })).toHaveLength(1)
    await expectNothingLeft()
  })

  it('client C1: the only one may go; the transfer is not wasted', async () => {
    await start()
    upstream.always('GET', '/v2/app/blobs/*', fault.slow(20 * mebi))
    const leader = rawClient(headwater, getRequest(layerPath()))
    await expect.poll(() => leader.received()).toBeGreaterThan(mebi)
    leader.socket.resetAndDestroy()
    await expect
      .poll(() => headwater.metric('headwater_fills_total', { result: 'committed' }), { timeout: 10_000 })
      .toBe(1)
    await upstream.stop()
    expect((await pull(headwater, layerPath())).digest).toBe(image.layers[0]!.digest)
  })

  it('client C2: a slow one slows nobody', async () => {
    await start()
    const slow = rawClient(headwater, getRequest(layerPath()), { reading: false })
    await sleep(200)
    const startedAt = performance.now()
    expect((await pull(headwater, layerPath())).digest).toBe(image.layers[0]!.digest)
    expect(performance.now() - startedAt).toBeLessThan(10_000)
    slow.socket.destroy()
    await expectNothingLeft()
  })

  it('client C5: a thousand idle connections hinder nobody', async () => {
    await start()
    const before = await headwater.openDescriptors()
    const idle = Array.from({ length: 1000 }, () => rawClient(headwater, ''))
    await expect
      .poll(() => headwater.openDescriptors(), { timeout: 10_000 })
      .toBeGreaterThanOrEqual(before + 900)
    expect((await pull(headwater, manifestPath)).digest).toBe(image.manifest.digest)
    for (const { socket } of idle) socket.destroy()
    await expect.poll(() => headwater.openDescriptors(), { timeout: 10_000 }).toBeLessThan(before + 30)
  })

  it('client C7: five hundred at once for a cold image cost the upstream one transfer', async () => {
    await start()
    const pulls = await Promise.all(Array.from({ length: 500 }, () => pull(headwater, manifestPath)))
    expect(new Set(pulls.map(({ digest }) => digest))).toEqual(new Set([image.manifest.digest]))
    const blobs = await Promise.all(Array.from({ length: 50 }, () => pull(headwater, layerPath())))
    expect(new Set(blobs.map(({ digest }) => digest))).toEqual(new Set([image.layers[0]!.digest]))
    expect(upstream.requests({ method: 'GET' })).toHaveLength(2)
  })
})

describe('one data folder', () => {
  it('belongs to one process at a time, and says so', async () => {
    await start()
    const second = startHeadwater({ resources: [], data: headwater.data })
    await expect(second).rejects.toThrow(/--data/)
  })

  it('holds no secret and no temporary file after a stop', async () => {
    await start()
    await pull(headwater, layerPath())
    await headwater.stop()
    const files = await readdir(headwater.data, { recursive: true })
    expect(files.filter((name) => name.includes('.spool/') || name.includes('.tmp/'))).toEqual([])
    expect(await readFile(headwater.configFile, 'utf8')).not.toContain('canary-')
  })
})
