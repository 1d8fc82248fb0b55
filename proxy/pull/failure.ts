import { OciError } from '../oci/errors.ts'
import { NoRoomError, SpoiledBlobError } from '../store/blob-store.ts'
import { StoreUnavailableError } from '../store/breaker.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { toOciError } from './trouble.ts'

/** Of a disk that fails or is full, or of too few descriptors: seldom over at once. */
const retryAfterSeconds = 5

/** What the client is told of a failure before anything was sent; a mistake of ours stays what it is. */
export function failureOf(error: unknown): unknown {
  if (error instanceof UpstreamError) return toOciError([error])
  // the store has taken it away, or does without it for now: the next try finds another source
  if (error instanceof SpoiledBlobError || error instanceof StoreUnavailableError)
    return new OciError('STORE_UNAVAILABLE', { retryAfterSeconds: 1, cause: error })
  if (isStoreFailure(error)) return new OciError('STORE_UNAVAILABLE', { retryAfterSeconds, cause: error })
  return error
}

/** What the upstream's connections could not do is an UpstreamError: what is left of the system's refusals is our disk's. */
function isStoreFailure(error: unknown): boolean {
  if (error instanceof NoRoomError) return true
  const { code, syscall } = (error instanceof Error ? error : {}) as NodeJS.ErrnoException
  return syscall !== undefined && code !== undefined && !mistakes.includes(code)
}

const mistakes = ['EBADF', 'EFAULT', 'EINVAL']
