import { createHash } from 'node:crypto'
import type { Subject } from './cases.ts'

/** Throws unless the answer is whole, and the bytes are the same everywhere. */
export async function checkAnswer(url: string, { name, path, length }: Subject): Promise<string> {
  const response = await fetch(url + path, {
    headers: { accept: 'application/vnd.oci.image.manifest.v1+json, */*' },
  })
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    hash.update(chunk)
    bytes += chunk.length
  }
  const announced = response.headers.get('content-length')
  if (response.status !== 200 || bytes !== length || announced !== String(length)) {
    throw new Error(`${name} answered ${response.status} with ${bytes} (${announced}) of ${length} bytes`)
  }
  return hash.digest('hex')
}
