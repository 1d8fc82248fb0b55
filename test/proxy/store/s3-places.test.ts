import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { StoreTimeoutError } from '../../../proxy/store/breaker.ts'
import { BodyParkedError, createBodyPlaces } from '../../../proxy/store/s3-places.ts'

/** A body that gives one piece, and fails when it is asked for more. */
async function bodyThatFails(error: Error) {
  let isFirst = true
  const body = {
    async next() {
      if (!isFirst) throw error
      isFirst = false
      return new Uint8Array(1)
    },
    destroy() {},
  }
  const opened = await createBodyPlaces(1).open(async () => ({ body }))
  await opened!.body.next()
  return opened!.body
}

it('takes a connection that was closed while its reader paused for no fault of S3', async () => {
  const body = await bodyThatFails(new Error('the socket timed out'))
  await sleep(1_100)
  await expect(body.next()).rejects.toThrow(BodyParkedError)
})

it.each([
  ['was cut while it was read', new Error('ECONNRESET'), 0],
  ['falls silent, even after a pause', new StoreTimeoutError('S3 sends no more'), 1_100],
])('tells of a body that %s', async (_, error, pauseMs) => {
  const body = await bodyThatFails(error)
  await sleep(pauseMs)
  await expect(body.next()).rejects.toBe(error)
})
