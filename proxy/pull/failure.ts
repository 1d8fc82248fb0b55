import { OciError } from '../oci/errors.ts'
import { NoRoomError, SpoiledBlobError } from '../store/blob-store.ts'
import { StoreUnavailableError } from '../store/breaker.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { toOciError } from './trouble.ts'

type Unreadable = SpoiledBlobError | StoreUnavailableError

/** Of a disk that fails or is full, or of too few descriptors: seldom over at once. */
const retryAfterSeconds = 5

/** What the client is told of a failure before anything was sent; a mistake of ours stays what it is. */
export function failureOf(error: unknown): unknown {
  if (error instanceof UpstreamError) return toOciError([error])
  // the store has taken it away, or does without it for now: the next try finds another source
  if (isUnreadable(error)) return new OciError('STORE_UNAVAILABLE', { retryAfterSeconds: 1, cause: error })
  if (isStoreFailure(error)) return new OciError('STORE_UNAVAILABLE', { retryAfterSeconds, cause: error })
  return error
}

/**
 * What is stored. Where the store has nothing, or does not give what it has, what `instead` gives; if that is nothing either,
 * the store's own failure is what the client is told of.
 */
export async function storedOr<T>(stored: Promise<T | undefined>, instead: () => Promise<T>): Promise<T> {
  let failure: unknown
  try {
    const found = await stored
    if (found !== undefined) return found
  } catch (error) {
    if (!isUnreadable(error)) throw error
    failure = error
  }
  return instead().catch((error: unknown) => {
    throw failure ?? error
  })
}

/** For `catch`, where what the store does not give is as good as absent. */
export function orAbsent(error: unknown): undefined {
  if (!isUnreadable(error)) throw error
}

/** For `catch`, where it is looked for elsewhere, and what the store said counts where it is not there. */
export function orUnreadable(error: unknown): Unreadable {
  if (!isUnreadable(error)) throw error
  return error
}

export function isUnreadable(error: unknown): error is Unreadable {
  return error instanceof SpoiledBlobError || error instanceof StoreUnavailableError
}

/** What the upstream's connections could not do is an UpstreamError: what is left of the system's refusals is our disk's. */
function isStoreFailure(error: unknown): boolean {
  if (error instanceof NoRoomError) return true
  const { code, syscall } = (error instanceof Error ? error : {}) as NodeJS.ErrnoException
  return syscall !== undefined && code !== undefined && !mistakes.includes(code)
}

const mistakes = ['EBADF', 'EFAULT', 'EINVAL']
