import { algorithmOf, digestOf, isDigest } from '../oci/digest.ts'
import { isInvalid, readManifest } from '../oci/manifest.ts'
import type { Question } from './fleet-flight.ts'
import type { FetchedManifest, ManifestHead, No } from './questions.ts'

type Form<T> = Pick<Question<T | No>, 'write' | 'read'>

/** Larger manifests are rare, and everybody then asks for them. */
const longestManifest = 256 * 1024

/** How the answers of an upstream go from one replica to another. Bytes are hashed again where they come. */
export const passedHead: Form<ManifestHead> = {
  write: (answer) => JSON.stringify(answer),
  read(text) {
    const { no, digest, size, mediaType } = fieldsOf(text)
    if (typeof no === 'number') return { no }
    if (typeof mediaType !== 'string') return undefined
    return {
      digest: typeof digest === 'string' && isDigest(digest) ? digest : undefined,
      size: typeof size === 'number' ? size : undefined,
      mediaType,
    }
  },
}

export const passedManifest: Form<FetchedManifest> = {
  write(answer) {
    if ('no' in answer) return JSON.stringify(answer)
    const { digest, mediaType, bytes } = answer
    if (bytes.length > longestManifest) return undefined
    return JSON.stringify({ digest, mediaType, bytes: bytes.toString('base64') })
  },
  read(text) {
    const { no, digest, mediaType, bytes: coded } = fieldsOf(text)
    if (typeof no === 'number') return { no }
    if (typeof digest !== 'string' || !isDigest(digest)) return undefined
    if (typeof mediaType !== 'string' || typeof coded !== 'string') return undefined
    const bytes = Buffer.from(coded, 'base64')
    const content = readManifest(bytes, mediaType)
    if (isInvalid(content) || digestOf(bytes, algorithmOf(digest)) !== digest) return undefined
    return { ...content, digest, mediaType, bytes }
  },
}

function fieldsOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const fields: unknown = JSON.parse(text)
    return typeof fields === 'object' && fields !== null ? (fields as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
