import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KubeConfig } from '@kubernetes/client-node'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { call } from '../../../operator/runtime/call.ts'
import { createKubernetesClient, type KubernetesClient } from '../../../operator/runtime/kubernetes-client.ts'
import { type FakeApiServer, startFakeApiServer } from './fake-api-server.ts'

let server: FakeApiServer
let client: KubernetesClient
const observed: string[] = []

beforeEach(async () => {
  observed.length = 0
  server = await startFakeApiServer()
  client = createKubernetesClient({
    kubeConfig: server.kubeConfig,
    userAgent: 'test/1',
    timeoutMs: 500,
    observe: ({ method, status }) => observed.push(`${method} ${status}`),
  })
})
afterEach(async () => {
  client.close()
  await server.close()
})

const list = () => call(() => client.core.listSecretForAllNamespaces())

it('sends many requests, one after the other, over a connection that is kept', async () => {
  for (let time = 0; time < 20; time++) await list()
  expect(server.connections()).toBeLessThan(4)
  expect(server.requests[0]!.headers).toMatchObject({
    'user-agent': 'test/1',
    authorization: 'Bearer canary-token',
  })
})

it('makes new connections after an error of the network', async () => {
  await list()
  server.fail('list', 1, 'reset')
  await expect(list()).rejects.toMatchObject({
    status: undefined,
    reason: expect.stringMatching(/^(?:UND_ERR_SOCKET|ECONNRESET)$/),
  })
  await list()
  expect(observed).toEqual(['GET 200', 'GET <error>', 'GET 200'])
})

it('K6: signs with the token that is in the file now, a minute after it was rotated at the latest', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'headwater-token-'))
  const tokenFile = join(folder, 'token')
  const kubeConfig = new KubeConfig()
  // as loadFromCluster makes it in a pod
  kubeConfig.loadFromClusterAndUser(
    { name: 'fake', server: server.kubeConfig.getCurrentCluster()!.server, skipTLSVerify: true },
    { name: 'me', authProvider: { name: 'tokenFile', config: { tokenFile } } },
  )
  const inPod = createKubernetesClient({ kubeConfig, userAgent: 'test/1' })
  const signed = async () => {
    await inPod.core.listSecretForAllNamespaces()
    return server.requests.at(-1)!.headers.authorization
  }
  vi.useFakeTimers({ toFake: ['Date'] })
  try {
    await writeFile(tokenFile, 'canary-first')
    expect(await signed()).toBe('Bearer canary-first')
    await writeFile(tokenFile, 'canary-second')
    vi.setSystemTime(Date.now() + 61_000)
    expect(await signed()).toBe('Bearer canary-second')
    server.fail('list', 1, { status: 401, reason: 'Unauthorized' })
    await expect(call(signed)).rejects.toMatchObject({ status: 401 })
    expect(await signed()).toBe('Bearer canary-second')
  } finally {
    vi.useRealTimers()
    inPod.close()
    await rm(folder, { recursive: true })
  }
})

it('gives a request up that is never answered', async () => {
  server.fail('list', 1, 'never')
  await expect(list()).rejects.toMatchObject({ reason: 'ETIMEDOUT' })
})

it('rejects what is under way when it is closed, and what comes later, as other trouble of the network', async () => {
  server.fail('list', 1, 'never')
  const asked = list()
  const isCanceled = { name: 'ApiError', status: undefined, reason: 'ECANCELED' }
  const rejected = expect(asked).rejects.toMatchObject(isCanceled)
  await expect.poll(() => server.requests.length).toBe(1)
  client.close()
  await rejected
  await expect(list()).rejects.toMatchObject(isCanceled)
})

it.each([429, 503])('asks again when a %i says when, and not for ever', async (status) => {
  server.fail('list', 2, { status, headers: { 'retry-after': '0' } })
  await list()
  server.fail('list', 9, { status, headers: { 'retry-after': '0' } })
  await expect(list()).rejects.toMatchObject({ status, retryAfterSeconds: 0 })
  expect(observed.filter((each) => each === `GET ${status}`)).toHaveLength(6)
})

it('leaves it to the caller when it is to wait for long, and when nothing is said', async () => {
  server.fail('list', 1, { status: 429, headers: { 'retry-after': '60' } })
  await expect(list()).rejects.toMatchObject({ status: 429, retryAfterSeconds: 60 })
  server.fail('list', 1, { status: 500 })
  await expect(list()).rejects.toMatchObject({ status: 500, retryAfterSeconds: undefined })
})

it('has no body, header or token in its errors', async () => {
  server.fail('list', 1, { status: 422, reason: 'Invalid' })
  const error = await list().catch((caught: unknown) => caught)
  expect(String(error)).toBe('ApiError: 422 Invalid')
  expect(JSON.stringify([error, Object.entries(error as object)])).not.toContain('canary')
})
