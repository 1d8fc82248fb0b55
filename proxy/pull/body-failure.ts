import { OciError } from '../oci/errors.ts'
import { SpoiledBlobError } from '../store/blob-store.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { toOciError } from './trouble.ts'

/** What the client is told when a body fails before any of it was sent. The next try may well find another source. */
export function bodyFailure(error: unknown): unknown {
  if (error instanceof UpstreamError) return toOciError([error])
  if (error instanceof SpoiledBlobError)
    return new OciError('UNAVAILABLE', { retryAfterSeconds: 1, cause: error })
  return error
}
