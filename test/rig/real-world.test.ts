import { afterEach, expect, it } from 'vitest'
import { createDouble, type Double, realRegistries } from './real-world.ts'

const doubles: Double[] = []
afterEach(async () => {
  await Promise.all(doubles.splice(0).map((double) => double.close()))
})

const login = { username: 'u', password: 'p' }

it.each(realRegistries)(
  '%s gives a manifest and, by redirect, a blob to who follows its rules',
  async (name) => {
    const double = await createDouble(name, { login })
    doubles.push(double)
    const { registry, cdn } = double
    const layer = registry.content.putBlob('library/a', 'hello')
    registry.content.putManifest('library/a', { schemaVersion: 2, layers: [layer] }, { tag: 'latest' })
    const blob = `${registry.url}/v2/library/a/blobs/${layer.digest}`

    const first = await fetch(`${registry.url}/v2/library/a/manifests/latest`, { method: 'HEAD' })
    const headers: Record<string, string> = {}
    if (name !== 'mcr') {
      expect(first.status).toBe(401)
      const [, realm, service] = /realm="([^"]+)",service="([^"]+)"/.exec(
        first.headers.get('www-authenticate')!,
      )!
      const authorization = `Basic ${Buffer.from('u:p').toString('base64')}`
      const exchange = await fetch(`${realm}?service=${service}&scope=repository:library/a:pull`, {
        headers: { authorization },
      })
      headers.authorization = `Bearer ${((await exchange.json()) as { token: string }).token}`
    }
    const head = await fetch(`${registry.url}/v2/library/a/manifests/latest`, { method: 'HEAD', headers })
    expect([head.status, head.headers.get('docker-content-digest')]).toEqual([
      200,
      expect.stringMatching(/^sha256:/),
    ])

    const redirect = await fetch(blob, { headers, redirect: 'manual' })
    expect([302, 307]).toContain(redirect.status)
    const location = redirect.headers.get('location')!
    expect(location.startsWith(cdn.url)).toBe(true)
    expect((await fetch(location, { headers: { authorization: 'Bearer x' } })).status).toBe(400)
    expect(await (await fetch(location)).text()).toBe('hello')
    expect(double.sources.length).toBeGreaterThan(0)
  },
)

it('Docker Hub has its token service on another host and answers 401 for what is not there', async () => {
  const double = await createDouble('docker-hub')
  doubles.push(double)
  const { registry, tokens, tokenServiceHosts } = double
  expect(tokenServiceHosts).toEqual([tokens?.host])
  const exchange = await fetch(
    `${tokens?.url}/token?service=registry.docker.io&scope=repository:library/none:pull`,
  )
  const { token } = (await exchange.json()) as { token: string }
  const answer = await fetch(`${registry.url}/v2/library/none/manifests/latest`, {
    headers: { authorization: `Bearer ${token}` },
  })
  expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([
    401,
    expect.stringContaining('insufficient'),
  ])
})

it.each([
  ['ghcr', 403],
  ['dhi.io', 401],
] as const)('%s refuses the exchange of who may not pull with %d', async (name, status) => {
  const double = await createDouble(name, { isPublic: () => false })
  doubles.push(double)
  const url = `${double.registry.url}/token?service=x&scope=repository:private/a:pull`
  expect((await fetch(url)).status).toBe(status)
})

it('Quay pages with a token of its own', async () => {
  const double = await createDouble('quay')
  doubles.push(double)
  const { registry } = double
  registry.auth.kind = 'none'
  for (const tag of ['a', 'b', 'c']) registry.content.putManifest('r', { tag }, { tag })
  const tags: string[] = []
  for (let next: string | undefined = '/v2/r/tags/list?n=2'; next; ) {
    const page: Response = await fetch(registry.url + next)
    tags.push(...((await page.json()) as { tags: string[] }).tags)
    next = /<(.+)>/.exec(page.headers.get('link') ?? '')?.[1]
  }
  expect(tags).toEqual(['a', 'b', 'c'])
})
