import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createFakeUpstream } from '../../rig/fake-upstream.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage } from '../../rig/images.ts'
import { createPullRig } from '../../rig/pull-rig.ts'

it('keeps uses at the end without waiting for what a slow store does not take', async () => {
  const hub = await createFakeUpstream()
  const done: string[] = []
  let isSlow = false
  const rig = await createPullRig([{ name: 'hub', at: hub }], [{ name: 'main', upstreams: ['hub'] }], {
    documentsOver: (files) => ({
      ...files,
      async put(...given) {
        if (isSlow) await sleep(4_000)
        const isPut = await files.put(...given)
        if (isSlow) done.push('documents')
        isSlow = false
        return isPut
      },
    }),
    indexOver: (sqlite) => ({
      ...sqlite,
      async recordUses(uses) {
        await sqlite.recordUses(uses)
        if (isSlow) done.push('uses')
      },
    }),
  })
  try {
    await pushImage(contentStore(hub.content), 'app', { tag: 'v1' })
    await rig.manifest('app', 'v1')
    await rig.restart()
    isSlow = true
    await rig.manifest('app', 'v1')
    await pushImage(contentStore(hub.content), 'app', { tag: 'v2', seed: 2 })
    await rig.manifest('app', 'v2')
    await rig.restart()
    expect(done).toEqual(['uses', 'documents'])
  } finally {
    await rig.close()
    await hub.close()
  }
}, 20_000)
