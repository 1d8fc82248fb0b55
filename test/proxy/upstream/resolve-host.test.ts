import { createSocket } from 'node:dgram'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { createHostResolver } from '../../../proxy/upstream/resolve-host.ts'
import { afterThisTest, ask, reply, startClient, startDouble, upstreamAt } from './doubles.ts'

const codes: Readonly<Record<string, number>> = { NXDOMAIN: 3, SERVFAIL: 2, REFUSED: 5 }

type Zone = (name: string, type: number) => string[] | 'NXDOMAIN' | 'SERVFAIL' | 'REFUSED' | 'silence'

/** A name server of a few lines: A records, and no others. */
async function startNameServer(zone: Zone): Promise<{ server: string; asked: string[] }> {
  const socket = createSocket('udp4')
  const asked: string[] = []
  socket.on('message', (query, peer) => {
    const { name, end, type } = readQuestion(query)
    if (type === 1) asked.push(name)
    const answer = zone(name, type)
    if (answer === 'silence') return
    const addresses = type === 1 && Array.isArray(answer) ? answer : []
    const code = Array.isArray(answer) ? 0 : codes[answer]!
    const head = Buffer.from(query.subarray(0, 12))
    head.writeUInt16BE(0x8180 | code, 2)
    head.writeUInt16BE(1, 4)
    head.writeUInt16BE(addresses.length, 6)
    head.writeUInt32BE(0, 8)
    const records = addresses.map((address) =>
      Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, ...address.split('.').map(Number)]),
    )
    socket.send(Buffer.concat([head, query.subarray(12, end), ...records]), peer.port, peer.address)
  })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  afterThisTest(() => new Promise((resolve) => socket.close(() => resolve())))
  return { server: `127.0.0.1:${socket.address().port}`, asked }
}

function readQuestion(query: Buffer): { name: string; end: number; type: number } {
  const labels: string[] = []
  let at = 12
  for (let size = query[at] ?? 0; size > 0; size = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + size))
    at += size + 1
  }
  return { name: labels.join('.'), end: at + 5, type: query.readUInt16BE(at + 1) }
}

async function files(hosts: string, resolv = ''): Promise<{ hostsFile: string; resolvConf: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'headwater-hosts-'))
  afterThisTest(() => rm(folder, { recursive: true }))
  const paths = { hostsFile: join(folder, 'hosts'), resolvConf: join(folder, 'resolv.conf') }
  await writeFile(paths.hostsFile, hosts)
  await writeFile(paths.resolvConf, resolv)
  return paths
}

it('asks a name server, and remembers the answer for its time', async () => {
  let now = 0
  const { server, asked } = await startNameServer(() => ['192.0.2.1', '192.0.2.2'])
  const resolve = createHostResolver({ now: () => now, servers: [server], ...(await files('')) })
  const both = [
    { address: '192.0.2.1', family: 4 },
    { address: '192.0.2.2', family: 4 },
  ]
  expect(await Promise.all([resolve('hub.example.com'), resolve('hub.example.com')])).toEqual([both, both])
  now = 4_000
  await resolve('hub.example.com')
  expect(asked).toHaveLength(1)
  now = 6_000
  await resolve('hub.example.com')
  expect(asked).toHaveLength(2)
})

it('believes the hosts file first, and asks nobody for localhost', async () => {
  const { server, asked } = await startNameServer(() => ['192.0.2.1'])
  const hosts = '# a comment\n::1 Hub.test\n127.0.0.5 hub.test other # more\nnonsense hub.test\n'
  const resolve = createHostResolver({ now: () => 0, servers: [server], ...(await files(hosts)) })
  expect(await resolve('HUB.test')).toEqual([
    { address: '127.0.0.5', family: 4 },
    { address: '::1', family: 6 },
  ])
  expect((await resolve('localhost'))[0]).toEqual({ address: '127.0.0.1', family: 4 })
  expect((await resolve('a.localhost'))[0]).toEqual({ address: '127.0.0.1', family: 4 })
  expect(asked).toEqual([])
})

it('searches the domains of resolv.conf in their order', async () => {
  const { server, asked } = await startNameServer((name) =>
    name === 'registry.ns.svc.cluster.local' ? ['10.0.0.7'] : 'NXDOMAIN',
  )
  const resolv = 'search ns.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n'
  const resolve = createHostResolver({ now: () => 0, servers: [server], ...(await files('', resolv)) })
  expect(await resolve('registry')).toEqual([{ address: '10.0.0.7', family: 4 }])
  expect(await resolve('registry.ns.svc')).toEqual([{ address: '10.0.0.7', family: 4 }])
  expect(asked).toEqual([
    'registry.ns.svc.cluster.local',
    'registry.ns.svc.ns.svc.cluster.local',
    'registry.ns.svc.svc.cluster.local',
    'registry.ns.svc.cluster.local',
  ])
  await expect(resolve('absent.example.com.')).rejects.toMatchObject({ code: 'ENOTFOUND' })
  expect(asked.at(-1)).toBe('absent.example.com')
})

it.each(['SERVFAIL', 'REFUSED'] as const)(
  'U39: a search domain that says %s does not hide the name itself',
  async (answer) => {
    const { server } = await startNameServer((name) => {
      if (name === 'hub.example.com') return ['192.0.2.1']
      return name.endsWith('.corp.internal') ? answer : 'NXDOMAIN'
    })
    const resolv = 'search svc.cluster.local corp.internal\noptions ndots:5\n'
    const resolve = createHostResolver({ now: () => 0, servers: [server], ...(await files('', resolv)) })
    expect(await resolve('hub.example.com')).toEqual([{ address: '192.0.2.1', family: 4 }])
    await expect(resolve('absent')).rejects.toMatchObject({ code: `E${answer}` })
  },
)

it('U39: a name server that never answers for IPv6 holds nobody up', async () => {
  const { server } = await startNameServer((name, type) => {
    if (type === 28) return 'silence'
    return name === 'hub.example.com' ? ['192.0.2.1'] : 'NXDOMAIN'
  })
  const resolv = 'search svc.cluster.local corp.internal\noptions ndots:5\n'
  const resolve = createHostResolver({ now: () => 0, servers: [server], ...(await files('', resolv)) })
  const started = performance.now()
  expect(await resolve('hub.example.com')).toEqual([{ address: '192.0.2.1', family: 4 }])
  expect(performance.now() - started).toBeLessThan(2_500)
})

it('keeps an answer without its half for IPv6 for a second only', async () => {
  let now = 0
  const { server, asked } = await startNameServer((_name, type) => (type === 28 ? 'silence' : ['192.0.2.1']))
  const resolve = createHostResolver({ now: () => now, servers: [server], ...(await files('')) })
  for (const at of [0, 900, 1_100]) {
    now = at
    await resolve('hub.example.com')
  }
  expect(asked).toHaveLength(2)
})

it.each([
  ['NXDOMAIN', 'unavailable'],
  ['SERVFAIL', 'unavailable'],
  ['silence', 'timeout'],
] as const)('U39: %s is trouble (%s), and no other upstream waits for it', async (answer, kind) => {
  const registry = await startDouble((_request, response) => reply(response, 200))
  const { server } = await startNameServer((name) => (name === 'good.test' ? ['127.0.0.1'] : answer))
  const resolveHost = createHostResolver({ now: Date.now, servers: [server], ...(await files('')) })
  const client = startClient({ resolveHost, limits: { connectMs: 700 } })
  const dead = Array.from({ length: 8 }, (_none, at) =>
    ask(client, upstreamAt(`http://dead${at}.test`, { name: `dead${at}` })).catch((error: unknown) => error),
  )
  const started = performance.now()
  expect(await ask(client, upstreamAt(`http://good.test:${registry.port}`))).toMatchObject({ found: true })
  expect(performance.now() - started).toBeLessThan(500)
  for (const error of await Promise.all(dead)) expect(error).toMatchObject({ name: 'UpstreamError', kind })
})

it('U39: flaps and heals by itself', async () => {
  let up = false
  const registry = await startDouble((_request, response) => reply(response, 200))
  const { server } = await startNameServer(() => (up ? ['127.0.0.1'] : 'SERVFAIL'))
  const resolveHost = createHostResolver({ now: Date.now, servers: [server], ...(await files('')) })
  const client = startClient({ resolveHost })
  const upstream = upstreamAt(`http://hub.test:${registry.port}`)
  await expect(ask(client, upstream)).rejects.toMatchObject({ kind: 'unavailable' })
  up = true
  expect(await ask(client, upstream)).toMatchObject({ found: true })
})

it('U39: a name that is bound anew to a forbidden address is not connected to', async () => {
  const registry = await startDouble((_request, response) => reply(response, 200, { Connection: 'close' }))
  let address = '127.0.0.1'
  const client = startClient({
    addressPolicy: { deny: ['127.0.0.2'], allow: [] },
    resolveHost: async () => [{ address, family: 4 }],
  })
  const upstream = upstreamAt(`http://hub.test:${registry.port}`)
  expect(await ask(client, upstream)).toMatchObject({ found: true })
  for (const forbidden of ['127.0.0.2', '169.254.169.254', '0.0.0.0']) {
    address = forbidden
    await expect(ask(client, upstream)).rejects.toMatchObject({ kind: 'blocked' })
  }
  expect(registry.requests).toHaveLength(1)
})

it('U39: of several addresses only the permitted ones are used, and a dead one does not end it', async () => {
  const registry = await startDouble((_request, response) => reply(response, 200))
  const client = startClient({
    addressPolicy: { deny: ['127.0.0.2'], allow: [] },
    resolveHost: async () => [
      { address: '127.0.0.2', family: 4 },
      { address: '127.0.0.3', family: 4 },
      { address: '127.0.0.1', family: 4 },
    ],
  })
  expect(await ask(client, upstreamAt(`http://hub.test:${registry.port}`))).toMatchObject({ found: true })
})

it('T18: an upstream at a forbidden literal address is not asked', async () => {
  for (const url of [
    'http://169.254.169.254',
    'http://[fe80::1]',
    'https://[::ffff:a9fe:a9fe]',
    'http://0/',
  ]) {
    await expect(ask(startClient(), upstreamAt(new URL(url).href))).rejects.toMatchObject({ kind: 'blocked' })
  }
})
