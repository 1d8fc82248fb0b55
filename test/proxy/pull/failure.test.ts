import { readdir, rename, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { OciError } from '../../../proxy/oci/errors.ts'
import { failureOf } from '../../../proxy/pull/failure.ts'
import { NoRoomError, SpoiledBlobError } from '../../../proxy/store/blob-store.ts'
import { UpstreamError } from '../../../proxy/upstream/errors.ts'
import { createFakeUpstream } from '../../rig/fake-upstream.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage } from '../../rig/images.ts'
import { createPullRig } from '../../rig/pull-rig.ts'

const ofSystem = (code: string) => Object.assign(new Error(code), { code, syscall: 'open', errno: -1 })

describe('a failure before the answer', () => {
  it.each([
    ['EIO', ofSystem('EIO')],
    ['P6: ENOSPC', ofSystem('ENOSPC')],
    ['P6: a disk that is full', new NoRoomError('the disk is full')],
    ['P7: EMFILE', ofSystem('EMFILE')],
    ['P7: ENFILE', ofSystem('ENFILE')],
    ['EACCES', ofSystem('EACCES')],
    ['bytes that are spoiled', new SpoiledBlobError('shorter')],
  ])('of our storage is 503 with a time to come again: %s', (_what, error) => {
    const failure = failureOf(error) as OciError
    expect(failure).toMatchObject({ key: 'STORE_UNAVAILABLE', status: 503, cause: error })
    expect(failure.retryAfterSeconds).toBeGreaterThanOrEqual(1)
  })

  it('of an upstream says what it was', () => {
    expect(failureOf(new UpstreamError('timeout', 'slow'))).toMatchObject({ key: 'UNAVAILABLE', status: 503 })
    expect(failureOf(new UpstreamError('invalid-response', 'x'))).toMatchObject({ status: 502 })
  })

  it.each([new TypeError('x is undefined'), ofSystem('EBADF'), new OciError('BLOB_UNKNOWN')])(
    'of another kind stays what it is: %s',
    (error) => {
      expect(failureOf(error)).toBe(error)
    },
  )
})

describe('a disk that refuses', () => {
  it.each([
    ['the document of a tag', '_tags/v1'],
    ['the document of a link', '_links/manifests/'],
    ['the bytes of a manifest', 'blobs/sha256/'],
  ])('to open %s makes 503 while it lasts', async (_what, where) => {
    const upstream = await createFakeUpstream()
    const rig = await createPullRig(
      [{ name: 'first', at: upstream }],
      [{ name: 'hub', upstreams: ['first'] }],
    )
    onTestFinished(async () => {
      await rig.close()
      await upstream.close()
    })
    const { manifest } = await pushImage(contentStore(upstream.content), 'app', { tag: 'v1' })
    await rig.manifest('app', 'v1')
    await rig.restart({ withoutIndex: true })
    const path = await pathOf(rig.folder, where)
    await rename(path, `${path}-away`)
    await symlink(path, path) // ELOOP, whoever asks
    await expect(rig.manifest('app', 'v1')).rejects.toMatchObject({
      key: 'STORE_UNAVAILABLE',
      cause: { code: 'ELOOP' },
    })
    expect(rig.observed.failures).toMatchObject([{ operation: 'pull' }])
    await rm(path)
    await rename(`${path}-away`, path)
    expect((await rig.manifest('app', 'v1')).digest).toBe(manifest.digest)
  })
})

async function pathOf(folder: string, where: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
  return paths.find((path) => path.includes(where))!
}
