import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { createTransfer, type OpenedSource, transferLimits } from '../../../proxy/pull/fill-transfer.ts'
import { recorder } from './fill-rig.ts'

const text = 'a piece of a blob, '

it('frees the memory of chunks that are handed over, once they are taken, and of no other', async () => {
  const own = Buffer.from(new TextEncoder().encode(text).buffer)
  const shared = Buffer.from(new TextEncoder().encode(`before ${text}`).buffer).subarray(7)
  const taken = await transferOf([own, shared], { givesChunks: true })
  await setImmediate()
  expect(taken).toBe(text + text)
  expect(own.length).toBe(0)
  expect(shared.toString()).toBe(text)
})

it('leaves chunks alone that are not', async () => {
  const own = Buffer.from(new TextEncoder().encode(text).buffer)
  await transferOf([own], {})
  await setImmediate()
  expect(own.toString()).toBe(text)
})

/** What was taken: the second time a chunk comes, a little later than it came. */
async function transferOf(chunks: Buffer[], how: Pick<OpenedSource, 'givesChunks'>): Promise<string> {
  const bytes = Buffer.concat(chunks)
  const body = Readable.from(chunks, { objectMode: false })
  let taken = ''
  const transfer = createTransfer({
    digest: digestOf(bytes),
    size: bytes.length,
    source: { upstream: 'default/u', open: () => Promise.reject(new Error('opened already')) },
    first: { body, start: 0, size: bytes.length, endsByClose: false, ...how },
    checkpoint: undefined,
    signal: new AbortController().signal,
    observer: recorder([]),
    limits: transferLimits,
    async take(chunk) {
      await setImmediate()
      taken += Buffer.from(chunk).toString()
    },
  })
  await transfer.run()
  return taken
}
