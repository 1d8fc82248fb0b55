import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import { readState } from '../../../operator/proxies/read-state.ts'

type Answer = (target: string) => { status: number; body?: string }
let server: Server | undefined
let ending = new AbortController()

async function follow(answer: Answer) {
  const said: string[] = []
  const asked: string[] = []
  server = createServer((request, response) => {
    asked.push(`${request.headers.authorization} ${request.url}`)
    const { status, body = '' } = answer(request.url ?? '')
    response.writeHead(status).end(body)
  })
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  ending = new AbortController()
  const done = readState({
    url: `http://127.0.0.1:${port}`,
    sign: (method, target) => `${method} ${target}`,
    onState: ({ version }) => said.push(version),
    onTrouble: (trouble) => said.push(`trouble: ${trouble}`),
    signal: ending.signal,
    sleep: () => new Promise((resolve) => setTimeout(resolve, 5)),
  })
  return { said, asked, done }
}

afterEach(async () => {
  ending.abort()
  server?.closeAllConnections()
  await new Promise((resolve) => server?.close(resolve))
})

const state = (version: string) =>
  JSON.stringify({
    ...{ version, proxy: { id: 'p', version: '1' }, isReady: true, isDraining: false },
    ...{ registries: {}, upstreams: {}, later: 'a field of a newer proxy' },
  })

it('asks for the state, then for another version than it knows, and signs what it asks for', async () => {
  let version = 1
  const { said, asked, done } = await follow((target) =>
    target.includes(`after=v${version}`) ? { status: 304 } : { status: 200, body: state(`v${version}`) },
  )
  await expect.poll(() => said).toEqual(['v1'])
  await expect.poll(() => asked.length).toBeGreaterThan(2)
  version = 2
  await expect.poll(() => said).toEqual(['v1', 'v2'])
  expect(asked[0]).toBe('GET /internal/v1/state /internal/v1/state')
  expect(asked[1]).toBe('GET /internal/v1/state?after=v1&wait=30 /internal/v1/state?after=v1&wait=30')
  ending.abort()
  await done
})

it.each([
  ['it does not take the cluster key', { status: 401 }],
  ['it says 500', { status: 500 }],
  ['what it says cannot be read', { status: 200, body: '{"version":1}' }],
  ['what it says cannot be read', { status: 200, body: 'nonsense' }],
])('tells of trouble that %s, and goes on', async (trouble, bad) => {
  let isBad = true
  const { said } = await follow(() => (isBad ? bad : { status: 200, body: state('v1') }))
  await expect.poll(() => said).toContain(`trouble: ${trouble}`)
  isBad = false
  await expect.poll(() => said.at(-1)).toBe('v1')
})

it('tells of one that is not there by the code of the error', async () => {
  const said: string[] = []
  ending = new AbortController()
  server = createServer()
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server?.close(resolve))
  await readState({
    url: `http://127.0.0.1:${port}`,
    sign: () => '',
    onState: () => {},
    onTrouble: (trouble) => {
      said.push(trouble)
      ending.abort()
    },
    signal: ending.signal,
  })
  expect(said).toEqual(['ECONNREFUSED'])
})
