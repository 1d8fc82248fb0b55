import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { expect, it } from 'vitest'
import { createUntaken } from '../../../proxy/http/untaken.ts'

it('counts a body until its client is gone, and none of a client that left before', async () => {
  const untaken = createUntaken(10)
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const ask = async () => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const asked = once(server, 'request') as Promise<[unknown, ServerResponse]>
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    const [, response] = await asked
    const leave = async () => {
      const closed = once(response, 'close')
      socket.destroy()
      await closed
    }
    return { response, leave }
  }
  try {
    const gone = await ask()
    await gone.leave()
    expect(untaken.add(gone.response, 10)).toBe(true)

    const one = await ask()
    const other = await ask()
    expect(untaken.add(one.response, 10)).toBe(true)
    expect(untaken.add(other.response, 1)).toBe(false)
    await one.leave()
    expect(untaken.add(other.response, 1)).toBe(true)
    await other.leave()
  } finally {
    server.close()
    server.closeAllConnections()
  }
})
