import { afterEach, beforeEach, expect, it } from 'vitest'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import { createPullRig, type PullRig } from '../../rig/pull-rig.ts'

let first: FakeUpstream
let rig: PullRig
let image: SampleImage
/** What the stores were asked for. */
let asked: { blobs: number; documents: number }

beforeEach(async () => {
  first = await createFakeUpstream()
  asked = { blobs: 0, documents: 0 }
  rig = await createPullRig([{ name: 'first', at: first }], [{ name: 'hub', upstreams: ['first'] }], {
    blobsOver: (files) => ({
      ...files,
      open(...args) {
        asked.blobs++
        return files.open(...args)
      },
    }),
    documentsOver: (files) => ({
      ...files,
      get(key) {
        asked.documents++
        return files.get(key)
      },
    }),
  })
  image = await pushImage(contentStore(first.content), 'app', { tag: 'v1', layers: [500_000] })
  await rig.manifest('app', 'v1')
  await rig.bytes('app', image.layers[0]!.digest)
})

afterEach(async () => {
  await rig.close()
  await first.close()
})

const fifty = <T>(ask: () => Promise<T>) => Promise.all(Array.from({ length: 50 }, ask))

it('reads what goes into memory once for all who ask at once', async () => {
  await rig.restart()
  asked.blobs = 0
  await fifty(() => rig.bytes('app', image.layers[0]!.digest))
  await fifty(() => rig.manifest('app', 'v1'))
  expect(asked.blobs).toBe(2)
})

it('reads the documents of what no index knows once for all who ask at once', async () => {
  await rig.restart({ withoutIndex: true })
  asked.documents = 0
  await fifty(() => rig.manifest('app', image.manifest.digest))
  expect(asked.documents).toBe(1)
})
