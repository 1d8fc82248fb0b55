import { isDeepStrictEqual } from 'node:util'
import { StoreUnavailableError } from './breaker.ts'

/** A list of S3, a page at a time. `next`: after what the following one begins; undefined at the end. */
export async function* pages<Page, Marker>(
  read: (after: Marker | undefined) => Promise<Page>,
  next: (page: Page) => Marker | undefined,
): AsyncGenerator<Page> {
  let marker: Marker | undefined
  do {
    const page = await read(marker)
    yield page
    const following = next(page)
    if (following !== undefined && isDeepStrictEqual(following, marker))
      throw new StoreUnavailableError('S3 lists in a circle')
    marker = following
  } while (marker !== undefined)
}
