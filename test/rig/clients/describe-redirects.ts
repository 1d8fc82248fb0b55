import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWithParts } from '../describe-with-parts.ts'
import { createFakeUpstream, type FakeUpstream } from '../fake-upstream.ts'
import { type Headwater, startHeadwater } from '../headwater.ts'
import { contentStore } from '../image-store.ts'
import type { PartName } from '../parts.ts'
import { startRedis } from '../redis.ts'
import { registryResource, upstreamResources } from '../resources.ts'
import { startS3 } from '../s3-server.ts'
import type { Client } from './client.ts'
import { openContainerd } from './containerd.ts'
import { openCrane } from './crane.ts'
import { closeAll } from './describe-clients.ts'
import { openDocker } from './docker.ts'
import { openPodman } from './podman.ts'
import { openRegctl } from './regctl.ts'
import { pushSample, readSample, type Sample } from './samples.ts'
import { openSkopeo } from './skopeo.ts'

const clients = {
  'crane pull': { parts: ['crane'], open: openCrane },
  'skopeo copy': { parts: ['skopeo'], open: openSkopeo },
  'docker pull': { parts: ['dockerd', 'docker'], open: openDocker },
  'podman pull': { parts: ['podman'], open: openPodman },
  'ctr images pull': { parts: ['containerd', 'ctr'], open: () => openContainerd() },
  'regctl image copy --referrers': { parts: ['regctl'], open: openRegctl },
} as const satisfies Record<string, { parts: readonly PartName[]; open: () => Promise<Client> }>

/** Real clients through a registry that says Redirect, over a real S3: cold by the proxy, and then from there. */
export function describeRedirects(commands: readonly (keyof typeof clients)[]): void {
  for (const title of commands) {
    const { parts, open } = clients[title]
    describeWithParts(['redis-server', 'versitygw', ...parts], title, () => {
      const closing: (() => Promise<unknown>)[] = []
      let client: Client
      let headwater: Headwater
      let sample: Sample
      let upstream: FakeUpstream

      beforeAll(async () => {
        const redis = await startRedis()
        closing.push(redis.close)
        const s3 = await startS3()
        closing.push(s3.close)
        const fake = await createFakeUpstream()
        closing.push(fake.close)
        await pushSample(contentStore(fake.content), 'oci-image')
        sample = await readSample('oci-image')
        upstream = fake
        headwater = await startHeadwater({
          resources: [
            ...upstreamResources('up', { url: fake.url }),
            registryResource('hub', ['up'], { spec: { blobDelivery: 'Redirect' } }),
          ],
          args: [
            ...['--redis-url', redis.url, '--s3-bucket', await s3.makeBucket()],
            ...['--s3-endpoint', s3.endpoint],
            // another name of the same server, as clients may have to use it
            ...['--s3-redirect-endpoint', s3.endpoint.replace('127.0.0.1', 'localhost')],
          ],
          env: s3.credentials,
        })
        closing.push(async () => {
          await headwater.close()
          await rm(headwater.data, { recursive: true, force: true })
        })
        client = await open()
        closing.push(client.close)
      }, 120_000)
      afterAll(() => closeAll(closing))

      it('gets a cold image through the proxy, and then its blobs from S3 alone', {
        timeout: 120_000,
      }, async () => {
        const command = client.commands.find((one) => one.title === title)!
        const through = { host: headwater.host, prefix: 'default/hub/' }
        const wanted = await command.wanted(sample, { host: upstream.host, prefix: '' })
        expect(await command.get(through, sample)).toEqual(expect.arrayContaining([...wanted]))
        await expect.poll(() => headwater.metric('headwater_fills_in_progress')).toBe(0)
        await sleep(1_000) // links are written, and the last answers logged, behind what the client has seen
        const before = await counts(headwater)

        const sentBefore = upstream.bytesSent()
        expect(await command.get(through, sample)).toEqual(expect.arrayContaining([...wanted]))
        const after = await counts(headwater)
        expect(after.redirects - before.redirects).toBeGreaterThanOrEqual(3) // two layers and a configuration
        expect(after.blobBytes - before.blobBytes).toBe(0)
        expect(upstream.bytesSent() - sentBefore).toBe(0)
        expect(headwater.log()).not.toMatch(/X-Amz-|Signature/i)
      })
    })
  }
}

async function counts(headwater: Headwater) {
  return {
    redirects: await headwater.metric('headwater_requests_total', { outcome: 'redirect' }),
    blobBytes: await blobBytes(headwater),
  }
}

/** Of every answer to a request for a blob, by its line in the log. */
async function blobBytes(headwater: Headwater): Promise<number> {
  const lines = headwater.logged().filter(({ kind, msg }) => kind === 'blob' && msg === 'request')
  return lines.reduce((sum, { bytes }) => sum + Number(bytes), 0)
}
