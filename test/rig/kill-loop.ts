import { setTimeout as sleep } from 'node:timers/promises'
import { createFakeUpstream } from './fake-upstream.ts'
import { startHeadwater, temporaryFolder } from './headwater.ts'
import { contentStore } from './image-store.ts'
import { pushImage } from './images.ts'
import { run } from './process.ts'
import { pull } from './pulling.ts'
import { registryResource, upstreamResources } from './resources.ts'

export interface KillLoopReport {
  readonly kills: number
  /** Kills that came while a fill ran, or while one was being committed. */
  readonly duringFills: number
  readonly findings: readonly string[]
  /** Pulls after a restart that did not give the right bytes. */
  readonly failures: readonly string[]
}

/**
 * Kills `serve` at random moments of pulls, starts it again over the same folder, has `scrub` look at what was left and
 * pulls everything once more. A few images only, so that the same blobs are met stored, half stored and not at all.
 */
export async function killLoop(kills: number, random: () => number = Math.random): Promise<KillLoopReport> {
  const upstream = await createFakeUpstream()
  const store = contentStore(upstream.content)
  const data = await temporaryFolder()
  const findings: string[] = []
  const failures: string[] = []
  let duringFills = 0

  for (let kill = 0; kill < kills; kill++) {
    const image = await pushImage(store, `app-${kill % 4}`, {
      tag: 'v1',
      layers: [3_000_000, 40_000],
      seed: kill,
      inMemory: true,
    })
    const resources = [
      ...upstreamResources('up', { url: upstream.url, validitySeconds: 1 }),
      registryResource('hub', ['up']),
    ]
    const first = await startHeadwater({ resources, data })
    const paths = [
      `/v2/default/hub/${image.repository}/manifests/v1`,
      ...image.layers.map(({ digest }) => `/v2/default/hub/${image.repository}/blobs/${digest}`),
    ]
    const wanted = [image.manifest.digest, ...image.layers.map(({ digest }) => digest)]
    const pulls = paths.map((path) => pull(first, path).catch(() => undefined))
    await sleep(random() * 60)
    if ((await Promise.race([Promise.all(pulls), sleep(0, 'running')])) === 'running') duringFills++
    await first.kill9()
    await Promise.all(pulls)

    const scrubbed = await run(process.execPath, ['cli/main.ts', 'scrub', '--data', data])
    if (scrubbed.code !== 0) findings.push(`kill ${kill}: ${scrubbed.stdout}${scrubbed.stderr}`)
    const second = await startHeadwater({ resources, data })
    for (const [position, path] of paths.entries()) {
      const got = await pull(second, path).catch((error: unknown) => ({ digest: String(error) }))
      if (got.digest !== wanted[position]) failures.push(`kill ${kill}: ${path}: ${got.digest}`)
    }
    await second.stop()
  }
  await upstream.close()
  return { kills, duringFills, findings, failures }
}
