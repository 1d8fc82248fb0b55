import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createScene, type Scene, type Stage } from './scene.ts'
import { type UpstreamRow, upstreamRows } from './upstream-rows.ts'

let scene: Scene

beforeAll(async () => {
  scene = await createScene(new Map(upstreamRows.map(({ name, options = {} }) => [name, options])))
})

afterAll(async () => {
  await scene?.close()
})

describe.each(upstreamRows)('an upstream that $title', (row) => {
  it('does to a pull what the table says, and leaves the invariants intact', async () => {
    const stage = await scene.begin(row.name)
    const { requestsAtMost = 30, patienceMs = 0 } = row
    const goodPassword = stage.upstream.auth.password
    await row.begin(stage)

    await expectFresh(stage)
    await expectStale(stage, row)
    await expectCold(stage, row)
    await expectBlob(stage, row)
    for (const { digest } of scene.elsewhere.layers) {
      expect((await stage.both(`blobs/${digest}`)).status, 'by digest the walk goes on').toBe(200)
    }

    await sleep(patienceMs)
    const heal = () => {
      row.end?.(stage)
      if (goodPassword !== undefined) stage.upstream.auth.password = goodPassword
    }
    await scene.expectInvariants(row.name, { requestsAtMost, heal })
  })
})

it('all over, every tag is confirmed again with no hand', async () => {
  await scene.expectConfirmed(upstreamRows.map(({ name }) => name))
})

async function expectFresh({ fresh, cached, seen }: Stage): Promise<void> {
  const paths = [
    `manifests/v1`,
    `manifests/${cached.manifest.digest}`,
    ...cached.layers.map(({ digest }) => `blobs/${digest}`),
  ]
  for (const path of paths) {
    const { status, headers } = await fresh(path)
    expect({ path, status, warning: headers.warning }).toEqual({ path, status: 200, warning: undefined })
  }
  expect(seen(), 'requests for what is fresh').toEqual([])
}

async function expectStale({ stale, cached }: Stage, row: UpstreamRow): Promise<void> {
  const { status, headers, ms } = await stale('manifests/v1')
  expect(status).toBe(200)
  expect(ms).toBeLessThan(3_000)
  const isSame = headers['docker-content-digest'] === cached.manifest.digest
  const outcome = headers.warning !== undefined ? 'stale-served' : isSame ? 'confirmed' : 'moved'
  expect(outcome).toBe(row.stale)
  expect(isSame).toBe(row.stale !== 'moved')
  const byDigest = await stale(`blobs/${cached.layers[1]!.digest}`)
  expect(byDigest).toMatchObject({ status: 200, cut: false })
}

async function expectCold({ both, cold }: Stage, row: UpstreamRow): Promise<void> {
  const { status, headers } = await both('manifests/cold')
  const expected = { found: cold, substitute: scene.substitute }[String(row.cold)]
  expect(status).toBe(expected ? 200 : row.cold)
  if (expected) expect(headers['docker-content-digest']).toBe(expected.manifest.digest)
  if (status === 429 || status === 503) expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1)
  if (status === 429 || status === 503) expect(Number(headers['retry-after'])).toBeLessThanOrEqual(60)
}

async function expectBlob({ stale, cold }: Stage, row: UpstreamRow): Promise<void> {
  const { status, cut, body } = await stale(`blobs/${cold.layers[1]!.digest}`)
  if (row.blob === 'refused') expect(cut || status === 502).toBe(true)
  else {
    expect(cut).toBe(false)
    expect(status).toBe(row.blob === 'found' ? 200 : row.blob)
    if (row.blob === 'found') expect(body).toHaveLength(cold.layers[1]!.size)
  }
}
