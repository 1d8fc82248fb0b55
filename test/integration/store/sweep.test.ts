import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { sweep } from '../../../proxy/cleanup/sweep.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { blobKey } from '../../../proxy/store/blob-store.ts'
import type { SharedStores } from '../../../proxy/store/shared-stores.ts'
import { begin, putBlob } from '../../contracts/blobs.ts'
import { collect } from '../../contracts/collect.ts'
import { noObserver, temporaryFolder as storeFolder } from '../../proxy/store/temporary-folder.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream } from '../../rig/fake-upstream.ts'
import { startHeadwater, temporaryFolder } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage } from '../../rig/images.ts'
import { pull } from '../../rig/pulling.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'
import { useSharedServers } from '../../rig/shared-servers.ts'

const mebi = 1024 * 1024
const clocks = { now: Date.now, monotonicNow: () => performance.now() }

describeWithParts(['redis-server', 'versitygw'], 'sweeping a bucket', () => {
  const servers = useSharedServers()

  async function storesOf(bucket: string): Promise<SharedStores> {
    const ignore = () => {}
    const observer = { ...noObserver, storeFailure: ignore, storeAvailable: ignore }
    return servers.open({ bucket, folder: await storeFolder(), observer })
  }

  const uploadsIn = (stores: SharedStores) => collect(stores.sweepable.uploads!.listUploads('blobs/'))
  const sweepOf = (stores: SharedStores, leftoverMs: number, graceMs = 60_000) =>
    sweep({ stores: stores.sweepable, maySweepShared: () => true, ...clocks, leftoverMs, graceMs })

  it('bucket S10: leaves nothing of a replica that was killed in the middle of a fill', async () => {
    const bucket = await servers.s3.makeBucket()
    const upstream = await createFakeUpstream({ bytesPerSecond: 20 * mebi })
    const layers = [60 * mebi]
    const image = await pushImage(contentStore(upstream.content), 'app', {
      tag: 'v1',
      layers,
      inMemory: true,
    })
    const start = async () =>
      startHeadwater({
        resources: [...upstreamResources('up', { url: upstream.url }), registryResource('hub', ['up'])],
        data: await temporaryFolder(),
        args: ['--redis-url', servers.redis.url, '--s3-bucket', bucket, '--s3-endpoint', servers.s3.endpoint],
        env: servers.s3.credentials,
      })
    const path = `/v2/default/hub/app/blobs/${image.layers[0]!.digest}`
    const stores = await storesOf(bucket)
    const killed = await start()
    const cut = pull(killed, path).catch(() => undefined)
    const partsOf = async () => {
      const [upload] = await uploadsIn(stores)
      return upload && stores.sweepable.uploads!.lastPartAt(upload.key, upload.uploadId)
    }
    await expect.poll(partsOf, { timeout: 30_000 }).toBeGreaterThan(0)
    await killed.kill9()
    await cut

    expect(await sweepOf(stores, 60_000)).toMatchObject({ uploads: 0 }) // it might live
    expect(await sweepOf(stores, 0)).toMatchObject({ uploads: 1 })
    expect(await uploadsIn(stores)).toEqual([])
    const files = await readdir(servers.s3.folderOf(bucket), { recursive: true })
    expect(files.filter((name) => name.includes('blobs/sha256/') && name.length > 80)).toEqual([])

    const second = await start()
    expect(await pull(second, path)).toMatchObject({ status: 200, digest: image.layers[0]!.digest })
    expect(await second.stop()).toBe(0)
    await stores.close()
    await upstream.close()
    for (const { data } of [killed, second]) await rm(data, { recursive: true, force: true })
  })

  it('deletes what nothing links, also where the index has lost its data, and no more', async () => {
    const bucket = await servers.s3.makeBucket()
    const stores = await storesOf(bucket)
    const [linked, unlinked] = [Buffer.from('linked'), Buffer.from('unlinked')]
    for (const bytes of [linked, unlinked]) await putBlob(stores.blobs, bytes)
    const folder = `upstreams/${'a'.repeat(64)}/app/_links/blobs`
    await stores.documents.put(`${folder}/${digestOf(linked).replace(':', '/')}`, '{}')
    await servers.redis.command('FLUSHALL')
    expect(await sweepOf(stores, 60_000, 0)).toMatchObject({ marked: 1, blobs: 0 })
    await servers.redis.command('FLUSHALL')
    expect(await sweepOf(stores, 60_000, 0)).toMatchObject({ marked: 0, blobs: 1, failures: [] })
    const stored = await collect(stores.blobs.list())
    expect(stored.map(({ digest }) => digest)).toEqual([digestOf(linked)])
    expect(
      await readdir(join(servers.s3.folderOf(bucket), 'blobs', blobKey(digestOf(linked)), '..')),
    ).toHaveLength(1)
    await stores.close()
  })

  it('leaves the upload of a fill that lives', async () => {
    const stores = await storesOf(await servers.s3.makeBucket())
    const bytes = Buffer.alloc(20 * mebi, 'x')
    const writer = await begin(stores.blobs, digestOf(bytes), bytes.length)
    await writer.append([bytes])
    await expect.poll(() => uploadsIn(stores)).toHaveLength(1)
    expect(await sweepOf(stores, 60_000)).toMatchObject({ uploads: 0 })
    await writer.commit()
    await writer.close()
    expect((await stores.blobs.stat(digestOf(bytes)))?.size).toBe(bytes.length)
    await stores.close()
  })

  it('takes an upload away that was only slow, which then begins anew', async () => {
    const stores = await storesOf(await servers.s3.makeBucket())
    const bytes = Buffer.alloc(20 * mebi, 'y')
    const writer = await begin(stores.blobs, digestOf(bytes), bytes.length)
    await writer.append([bytes])
    const partsOf = async () => {
      const [upload] = await uploadsIn(stores)
      return upload && stores.sweepable.uploads!.lastPartAt(upload.key, upload.uploadId)
    }
    await expect.poll(partsOf).toBeGreaterThan(0)
    expect(await sweepOf(stores, 0)).toMatchObject({ uploads: 1 })
    await writer.commit()
    await writer.close()
    expect((await stores.blobs.stat(digestOf(bytes)))?.size).toBe(bytes.length)
    expect(await uploadsIn(stores)).toEqual([])
    await stores.close()
  })
})
