import { open, readFile, rename, rm } from 'node:fs/promises'
import { z } from 'zod'
import type { NamedDocuments } from '../../proxy/route-set.ts'
import { RouteDocument } from '../../proxy/routes.ts'

const Kept = z.object({ documents: z.record(z.string(), RouteDocument) })

/** The set that was served last, on the disk: with it a proxy starts while there is no API server. */
export interface LastGood {
  /** Undefined when there is none, or none that can be read. */
  read(): Promise<NamedDocuments | undefined>
  /** For the owner of the process alone to read: there are credentials in it. One at a time. */
  write(taken: NamedDocuments): Promise<void>
}

export function createLastGood(file: string): LastGood {
  return {
    async read() {
      try {
        const { documents } = Kept.parse(JSON.parse(await readFile(file, 'utf8')))
        return new Map(Object.entries(documents))
      } catch {
        return undefined // whatever it says may have a credential in it
      }
    },
    async write(taken) {
      const partial = `${file}.${process.pid}.tmp`
      const text = JSON.stringify({ documents: Object.fromEntries(taken) })
      try {
        const handle = await open(partial, 'w', 0o600)
        try {
          await handle.chmod(0o600) // an earlier one may have been another's
          await handle.writeFile(text)
          await handle.sync()
        } finally {
          await handle.close()
        }
        await rename(partial, file)
      } catch (error) {
        await rm(partial, { force: true })
        throw error
      }
    },
  }
}
