import { randomBytes } from 'node:crypto'
import { NoRoomError } from '../../../proxy/store/blob-store.ts'
import { openLocalStores } from '../../../proxy/store/local-stores.ts'
import { putImage } from '../../proxy/store/sample-image.ts'

/** Writes images until it is killed, several at a time. Says `ready` once the stores are open, then each it has written. */
const [folder = '', maxBytes] = process.argv.slice(2)
const observer = { spoolBytes() {}, storedBytes() {}, evicted() {} }
const stores = await openLocalStores({ folder, maxBytes: maxBytes ? Number(maxBytes) : undefined, observer })
process.stdout.write('ready\n')

async function writeOn(): Promise<never> {
  for (;;) {
    const repository = `r${randomBytes(8).toString('hex')}`
    try {
      await putImage(stores, repository, 300_000)
      process.stdout.write(`${repository}\n`)
    } catch (error) {
      if (!(error instanceof NoRoomError)) throw error
    }
  }
}

await Promise.all([writeOn(), writeOn(), writeOn(), writeOn()])
