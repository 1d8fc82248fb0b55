import { afterAll, beforeAll, expect } from 'vitest'
import { parseRedisAddress } from '../../proxy/store/redis-address.ts'
import { connectToRedis, type RedisConnection } from '../../proxy/store/redis-connection.ts'
import { type RedisServer, startRedis } from './redis.ts'

/** A Redis for all tests of a `describe` or a file, and a connection to it. */
export function useRedis(): Pick<RedisConnection, 'send'> & { readonly port: number } {
  let server: RedisServer
  let connection: RedisConnection
  beforeAll(async () => {
    server = await startRedis()
    connection = connectToRedis(parseRedisAddress(server.url)!)
    expect(await connection.ready(5_000)).toBe(true)
  })
  afterAll(async () => {
    connection?.close()
    await server?.close()
  })

  return {
    get port() {
      return server.port
    },
    send: (command, ...args) => connection.send(command, ...args),
  }
}
