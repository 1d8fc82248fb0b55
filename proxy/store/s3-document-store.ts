import { StoreUnavailableError } from './breaker.ts'
import { checkDocumentKey, type DocumentStore, maxDocumentBytes } from './document-store.ts'
import { createKeyedLock } from './keyed-lock.ts'
import type { ObjectBody } from './s3-body.ts'
import type { Bucket } from './s3-bucket.ts'

/** Documents as objects, `root` before their keys. Preconditions are S3's own, so they hold among all replicas. */
export function createS3DocumentStore({
  bucket,
  root = 'documents/',
}: {
  bucket: Bucket
  root?: string
}): DocumentStore {
  const locked = createKeyedLock()

  return {
    async get(key) {
      checkDocumentKey(key)
      const object = await bucket.get(root + key)
      if (!object) return undefined
      const { etag, size, body } = object
      if (size > maxDocumentBytes) {
        body.destroy()
        throw new Error(`a document of ${size} bytes is too large`)
      }
      return { body: await readText(body), etag }
    },

    /** In turn within one process, which saves S3 most of the conflicts. */
    put(key, body, condition) {
      checkDocumentKey(key)
      const bytes = Buffer.from(body)
      if (bytes.length > maxDocumentBytes) throw new Error(`a document of ${bytes.length} bytes is too large`)
      return locked(key, () => bucket.put(root + key, bytes, condition))
    },

    async *list(prefix) {
      if (prefix !== '') checkDocumentKey(prefix.slice(0, -1))
      for await (const { key } of bucket.list(root + prefix)) {
        const name = key.slice(root.length)
        if (isDocumentKey(name)) yield name
      }
    },

    async delete(key) {
      checkDocumentKey(key)
      await locked(key, () => bucket.delete(root + key))
    },
  }
}

async function readText(body: ObjectBody): Promise<string> {
  const chunks: Uint8Array[] = []
  try {
    for (let chunk = await body.next(); chunk; chunk = await body.next()) chunks.push(chunk)
  } catch (cause) {
    throw new StoreUnavailableError('S3 cut a document short', { cause })
  } finally {
    body.destroy()
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Somebody else's object may lie among ours. */
function isDocumentKey(name: string): boolean {
  try {
    checkDocumentKey(name)
    return true
  } catch {
    return false
  }
}
