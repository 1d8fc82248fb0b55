import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createBlackhole } from './blackhole.ts'

it.skipIf(process.platform !== 'linux')('a black hole neither accepts nor refuses', async () => {
  const blackhole = await createBlackhole()
  const socket = connect(blackhole.port, '127.0.0.1')
  const seen = new Promise((resolve) => {
    socket.once('connect', () => resolve('connected'))
    socket.once('error', () => resolve('refused'))
  })
  expect(await Promise.race([seen, sleep(700, 'nothing')])).toBe('nothing')
  socket.destroy()
  await blackhole.close()
})
