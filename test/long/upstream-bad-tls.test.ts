import { expect, it } from 'vitest'
import {
  ask,
  createCertificates,
  reply,
  startClient,
  startDouble,
  upstreamAt,
} from '../proxy/upstream/doubles.ts'

it('U38: ten thousand bad handshakes leave heap and sockets as they were', async () => {
  const registry = await startDouble((_request, response) => reply(response, 200), {
    tls: createCertificates().issue(),
  })
  const client = startClient()
  const upstream = upstreamAt(registry.url)
  const rounds = async (count: number) => {
    for (let round = 0; round < count; round++) {
      const attempts = Array.from({ length: 20 }, () =>
        ask(client, upstream).catch((error: { kind: string }) => error.kind),
      )
      expect(new Set(await Promise.all(attempts))).toEqual(new Set(['unavailable']))
    }
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    globalThis.gc?.()
    return process.memoryUsage().heapUsed
  }
  const before = await rounds(50)
  const after = await rounds(500)
  expect(after).toBeLessThan(before + 24 * 1024 * 1024)
  expect(process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length).toBeLessThan(10)
})
