import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { type BlobStore, type BlobWriter, NoRoomError, type OpenBlob } from '../../proxy/store/blob-store.ts'

export async function putBlob(store: BlobStore, bytes: Buffer, digest = digestOf(bytes)): Promise<void> {
  const writer = await begin(store, digest, bytes.length)
  try {
    await writer.append([bytes])
    await writer.commit()
  } finally {
    await writer.close()
  }
}

export async function begin(store: BlobStore, digest: Digest, size: number | undefined): Promise<BlobWriter> {
  const writer = await store.create(digest, size)
  if (!writer) throw new NoRoomError('there is no room for the blob')
  return writer
}

export async function readBlob(store: BlobStore, digest: Digest): Promise<Buffer | undefined> {
  const blob = await store.open(digest)
  if (!blob) return undefined
  try {
    const bytes = await readAll(blob, Buffer.alloc(blob.size + 1))
    return bytes
  } finally {
    await blob.close()
  }
}

export async function readAll(blob: OpenBlob | BlobWriter, buffer: Buffer, from = 0): Promise<Buffer> {
  let at = from
  for (let read = -1; read !== 0; at += read) read = await blob.read(buffer.subarray(at), at)
  return buffer.subarray(from, at)
}
