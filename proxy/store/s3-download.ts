import { type BlobWriter, NoRoomError, type OpenBlob } from './blob-store.ts'
import type { ObjectBody } from './s3-body.ts'
import {
  type CheckedStream,
  createCheckedStream,
  createRemoteReader,
  type RemoteObject,
  type RemoteReader,
} from './s3-reader.ts'

/** One object on its way from S3 into the hot tier, with any number of readers. */
export interface Download {
  /** Undefined when it has ended and nobody reads it any more. */
  open(): OpenBlob | undefined
  /** Resolves when nothing is under way any more: from then on it is in the hot tier, or it is not. */
  readonly done: Promise<void>
}

/** There from its first read on. */
interface Remote extends RemoteReader {
  /** What it would read is here: its connection is another's. Read again, it begins anew. */
  leave(): void
}

/** A reader that begins this far beyond what is here reads from S3 by itself. */
const farBytes = 8 * 1024 * 1024
/** With this much to come at most, a download goes on that nobody reads any more. */
const orphanBytes = 64 * 1024 * 1024

/** `writer` is undefined where the hot tier has no room: everybody reads from S3 then. */
export function startDownload(
  object: RemoteObject,
  first: ObjectBody,
  writer: BlobWriter | undefined,
  onFailure: (error: unknown) => void,
): Download {
  const { size } = object
  const waiting = new Set<() => void>()
  const stream = writer && createCheckedStream(object, first, 0)
  let spare = writer ? undefined : first
  let state: 'filling' | 'whole' | 'failed' | 'remote' = writer ? 'filling' : 'remote'
  let failure: unknown
  let visible = 0
  let readers = 0
  let ended = writer === undefined
  let closed = false

  function wake(): void {
    for (const one of waiting) one()
    waiting.clear()
  }

  async function run(into: BlobWriter, from: CheckedStream): Promise<void> {
    try {
      await bringOver(into, from)
      if (state === 'whole') await into.commit()
    } catch (error) {
      onBroken(error)
    } finally {
      from.destroy()
      ended = true
      closeIfUnused()
    }
  }

  async function bringOver(into: BlobWriter, from: CheckedStream): Promise<void> {
    while (visible < size && state === 'filling') {
      const piece = await from.next()
      await into.append([piece])
      visible += piece.length
      wake()
    }
    if (state === 'filling') state = 'whole'
    wake()
  }

  function onBroken(error: unknown): void {
    const hasNoRoom = error instanceof NoRoomError
    if (state === 'filling') {
      state = hasNoRoom ? 'remote' : 'failed'
      failure = error
    }
    if (!hasNoRoom && state !== 'remote') onFailure(error)
    wake()
  }

  function closeIfUnused(): void {
    if (!ended || readers > 0 || closed) return
    closed = true
    void writer?.close().catch(onFailure)
  }

  function onLeft(): void {
    readers -= 1
    if (readers === 0) spare?.destroy()
    if (readers === 0 && state === 'filling' && size - visible > orphanBytes) {
      state = 'remote'
      stream?.destroy()
    }
    closeIfUnused()
  }

  async function read(remote: Remote, buffer: Uint8Array, position: number): Promise<number> {
    for (;;) {
      if (position >= size) return 0
      if (position < visible) {
        remote.leave()
        return writer!.read(buffer.subarray(0, visible - position), position)
      }
      if (state === 'failed') throw failure
      if (state === 'remote' || position - visible > farBytes) return remote.read(buffer, position)
      await new Promise<void>((resolve) => waiting.add(resolve))
    }
  }

  function createRemote(): Remote {
    let reader: RemoteReader | undefined
    let reading = 0
    const close = () => {
      reader?.close()
      reader = undefined
    }
    return {
      async read(buffer, position) {
        reader ??= createRemoteReader(object, spare)
        spare = undefined
        reading += 1
        try {
          return await reader.read(buffer, position)
        } finally {
          reading -= 1
        }
      },
      leave() {
        if (reading === 0) close()
      },
      close,
    }
  }

  const done = writer && stream ? run(writer, stream) : Promise.resolve()
  return {
    done,
    open() {
      if (closed) return undefined
      const remote = createRemote()
      let left = false
      readers += 1
      return {
        size,
        read: (buffer, position) => read(remote, buffer, position),
        discard: object.discard,
        async close() {
          if (left) return
          left = true
          remote.close()
          onLeft()
        },
      }
    },
  }
}
