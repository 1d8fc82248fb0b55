import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'
import { blobKey } from '../../../proxy/store/blob-store.ts'
import { ask } from '../../rig/asking.ts'
import { createFakeUpstream, type FakeUpstream, fault } from '../../rig/fake-upstream.ts'
import { type Headwater, startHeadwater } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage } from '../../rig/images.ts'
import { expectScrubbed } from '../../rig/invariants.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'
import { describeWithProgram } from './programs.ts'

describeWithProgram('strace', 'a large blob that the disk does not give (EIO)', () => {
  let upstream: FakeUpstream
  let headwater: Headwater
  let digest: Digest
  let path: string
  let blobPath: string
  let file: string

  beforeEach(async () => {
    upstream = await createFakeUpstream()
    const { layers } = await pushImage(contentStore(upstream.content), 'app', {
      layers: [20_000_000],
      inMemory: true,
    })
    digest = layers[0]!.digest
    path = `/v2/default/hub/app/blobs/${digest}`
    blobPath = `/v2/app/blobs/${digest}`
    headwater = await startHeadwater({
      resources: [...upstreamResources('up', { url: upstream.url }), registryResource('hub', ['up'])],
    })
    file = join(headwater.data, 'blobs', blobKey(digest))
    await get()
    const isStored = () =>
      stat(file).then(
        ({ size }) => size === layers[0]!.size,
        () => false,
      )
    await expect.poll(isStored).toBe(true)
    await expect.poll(() => headwater.metric('headwater_fills_in_progress')).toBe(0)
  })
  afterEach(async () => {
    await headwater.stop()
    await expectScrubbed(headwater.data)
    await headwater.close()
    await upstream.close()
  })

  async function get(): Promise<string> {
    const { status, cut, body } = await ask(headwater, path)
    return `${status} ${cut ? 'cut' : digestOf(body) === digest ? 'whole' : 'wrong'}`
  }

  const fills = () => upstream.requests({ method: 'GET', path: blobPath }).length

  /** So many reads of the file by each thread go well, and those after it do not, until it is ended. */
  async function failReads(after: number): Promise<ChildProcess> {
    const fault = `inject=pread64:error=EIO:when=${after + 1}+`
    const args = ['-f', '-p', String(headwater.pid), '-e', 'trace=pread64', '-e', fault, '-P', file]
    const strace = spawn('strace', args, { stdio: ['ignore', 'ignore', 'ignore'] })
    // thread by thread: those that it has not reached yet read on
    await expect.poll(tracersOfThreads).toEqual([strace.pid])
    return strace
  }

  /** Each once; 0 is none. */
  async function tracersOfThreads(): Promise<number[]> {
    const tasks = `/proc/${headwater.pid}/task`
    const threads = await readdir(tasks)
    const states = await Promise.all(threads.map((thread) => readFile(join(tasks, thread, 'status'), 'utf8')))
    return [...new Set(states.map((state) => Number(/^TracerPid:\s*(\d+)/m.exec(state)?.[1])))]
  }

  async function end(strace: ChildProcess): Promise<void> {
    strace.kill('SIGINT')
    await once(strace, 'exit')
  }

  it('from its first byte on comes from the upstream in the same answer, and is stored anew', async () => {
    const strace = await failReads(0)
    // what is stored anew has the same path: it must be read without a fault
    const healed = Promise.withResolvers<void>()
    upstream.next('GET', blobPath, fault.until(healed.promise))
    const got = get()
    try {
      await expect.poll(fills).toBe(2)
    } finally {
      await end(strace)
      healed.resolve()
    }
    expect(await got).toBe('200 whole')
    await expect.poll(() => headwater.metric('headwater_fills_in_progress')).toBe(0)
    expect(await get()).toBe('200 whole')
    expect(fills()).toBe(2)
  })

  it('from its middle on is cut, and comes from the upstream the next time', async () => {
    const strace = await failReads(1) // twenty reads by sixteen threads at most: one of them reads again
    try {
      expect(await get()).toMatch(/cut$/) // the reset may take the head with it
    } finally {
      await end(strace)
    }
    expect(await get()).toBe('200 whole')
    expect(fills()).toBe(2)
    expect(await get()).toBe('200 whole')
  })
})
