import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLastGood } from '../../../cli/routes/last-good.ts'
import { watchRoutes } from '../../../cli/routes/watch-routes.ts'
import { createKubernetesClient } from '../../../operator/runtime/kubernetes-client.ts'
import { secretSource } from '../../../operator/runtime/sources.ts'
import type { RouteSet } from '../../../proxy/route-set.ts'
import { type RegistryRoute, type RouteDocument, routeSecretType } from '../../../proxy/routes.ts'
import { type FakeApiServer, startFakeApiServer } from '../../operator/runtime/fake-api-server.ts'

function documentOf(name: string, revision = 'r'): RouteDocument {
  const route: RegistryRoute = {
    ...{ kind: 'VirtualRegistry', namespace: 'default', name, path: `default/${name}`, hosts: [] },
    ...{ upstreams: [], access: { rules: [] }, blobDelivery: 'Proxy', serving: 'Enabled' },
  }
  return { features: [], revision, route }
}
const secretWith = (document: unknown) => ({
  data: { document: Buffer.from(JSON.stringify(document)).toString('base64') },
})

describe('a proxy that follows the routes namespace', () => {
  let server: FakeApiServer
  let ending: AbortController
  let running: Promise<void> | undefined
  let sets: RouteSet[]
  let failures: unknown[]

  beforeEach(async () => {
    server = await startFakeApiServer()
    ending = new AbortController()
    sets = []
    failures = []
  })
  afterEach(async () => {
    ending.abort()
    await running
    await server.close()
  })

  function start(last: ReadonlyMap<string, RouteDocument> = new Map()): void {
    const client = createKubernetesClient({ kubeConfig: server.kubeConfig, userAgent: 'test/1' })
    running = watchRoutes({
      source: secretSource(client, routeSecretType, { namespace: 'routes' }),
      last,
      onSet: (set) => {
        sets.push(set)
      },
      onFailure: (error) => failures.push(error),
      signal: ending.signal,
      quietMs: 30,
    })
  }
  const served = () =>
    sets
      .at(-1)
      ?.documents.registries.map(({ name }) => name)
      .toSorted()

  it('takes an empty list for a whole set, and asks for its own type alone', async () => {
    start()
    await expect.poll(() => sets.length).toBe(1)
    expect(served()).toEqual([])
    expect(server.requests[0]!.query.get('fieldSelector')).toBe(`type=${routeSecretType}`)
    await expect.poll(() => server.requests.at(-1)!.query.get('watch')).toBe('true')
    expect(server.requests.at(-1)!.query.get('fieldSelector')).toBe(`type=${routeSecretType}`)
  })

  it('takes many changes as one set', async () => {
    server.put('registry-0', secretWith(documentOf('first')))
    start()
    await expect.poll(() => server.watches()).toBe(1)
    for (let number = 1; number <= 50; number++)
      server.put(`registry-${number}`, secretWith(documentOf(`r${number}`)))
    await expect.poll(() => served()?.length).toBe(51)
    expect(sets.length).toBeLessThan(10)
    server.remove('registry-0')
    await expect.poll(() => served()?.includes('first')).toBe(false)
  })

  it('K22: has no set while lists fail, which is not the same as an empty one', async () => {
    server.put('registry-0', secretWith(documentOf('first')))
    server.fail('list', 2, { status: 403, reason: 'Forbidden' })
    start()
    await sleep(150)
    expect([sets.length, failures.length]).toEqual([0, 1])
    await expect.poll(() => served(), { timeout: 3000 }).toEqual(['first'])
  })

  it('serves on what was good of a document that is spoiled', async () => {
    server.put('registry-0', secretWith(documentOf('first')))
    start()
    await expect.poll(() => server.watches()).toBe(1)
    server.put('registry-0', secretWith({ features: ['later'] }))
    await expect.poll(() => sets.at(-1)?.problems.length).toBe(1)
    expect(served()).toEqual(['first'])
    server.put('registry-0', { data: {} })
    await expect.poll(() => sets.at(-1)?.problems[0]?.reason).toContain('no document')
    expect(served()).toEqual(['first'])
  })

  it('K1: begins with what was good in an earlier process', async () => {
    server.put('registry-0', secretWith('spoiled'))
    start(
      new Map([
        ['registry-0', documentOf('first')],
        ['registry-1', documentOf('gone')],
      ]),
    )
    await expect.poll(() => served()).toEqual(['first'])
  })

  it('ends when it is stopped before there ever was a list', async () => {
    server.fail('list', 100, 'never')
    start()
    await sleep(30)
    ending.abort()
    await running
    expect(sets).toEqual([])
  })
})

describe('the last good set', () => {
  let folder: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'last-good-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  it('is read as it was written, by the owner of the process alone', async () => {
    const file = join(folder, 'routes.json')
    const lastGood = createLastGood(file)
    const taken = new Map([['registry-0', documentOf('first')]])
    expect(await lastGood.read()).toBeUndefined()
    await writeFile(file, 'from before')
    await chmod(file, 0o644)
    await lastGood.write(taken)
    expect(await createLastGood(file).read()).toEqual(taken)
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    expect(await readdir(folder)).toEqual(['routes.json'])
  })

  it.each(['', '{"documents": {"a": {"route": {}}}}', '{"doc'])('is none when it holds %j', async (text) => {
    const file = join(folder, 'routes.json')
    await writeFile(file, text)
    expect(await createLastGood(file).read()).toBeUndefined()
  })

  it('says when it cannot be written, and leaves nothing half written', async () => {
    const file = join(folder, 'routes.json')
    await mkdir(file)
    await expect(createLastGood(file).write(new Map())).rejects.toThrow()
    expect(await readdir(folder)).toEqual(['routes.json'])
  })
})
