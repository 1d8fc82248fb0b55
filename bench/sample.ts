import type { Descriptor } from '../test/rig/content.ts'
import { registryStore } from '../test/rig/image-store.ts'
import type { Registry } from '../test/rig/registry.ts'
import { randomSource, textSource } from '../test/rig/source.ts'
import type { ServerName } from './servers.ts'

/** The image that is pulled. */
export interface Sample {
  readonly tag: string
  readonly manifest: Descriptor
  readonly blobs: { readonly small: Descriptor; readonly large: Descriptor }
  /** Its repository as each server is asked for it: equally long. */
  readonly names: Readonly<Record<ServerName, string>>
}

const mib = 1024 * 1024
const repository = 'library/bench'
const tag = '1.0.0'
const mediaType = 'application/vnd.oci.image.layer.v1.tar'

/** Pushes a manifest with a handful of layers, as most have, two of them the blobs that are pulled. */
export async function pushSample(upstream: Pick<Registry, 'url'>): Promise<Sample> {
  const store = registryStore({ ...upstream, username: undefined } as Registry)
  const put = (size: number, seed: number) =>
    store.putBlob(repository, randomSource({ size, seed }), { mediaType })
  const small = await put(mib, 1)
  const large = await put(200 * mib, 2)
  const others = [await put(1000, 3), await put(2000, 4), await put(3000, 5), await put(4000, 6)]
  const config = await store.putBlob(repository, textSource('{"os":"linux","architecture":"amd64"}'), {
    mediaType: 'application/vnd.oci.image.config.v1+json',
  })
  const type = 'application/vnd.oci.image.manifest.v1+json'
  const body = { schemaVersion: 2, mediaType: type, config, layers: [small, large, ...others] }
  const manifest = await store.putManifest(repository, body, { mediaType: type, tag })
  const names = { headwater: `a/${repository}`, distribution: repository, nginx: `a/${repository}` }
  return { tag, manifest, blobs: { small, large }, names }
}
