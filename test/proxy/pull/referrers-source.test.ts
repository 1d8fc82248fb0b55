import { expect, it } from 'vitest'
import { indexMediaType } from '../../../proxy/oci/manifest.ts'
import type { Place, Questions } from '../../../proxy/pull/questions.ts'
import { createReferrersSource } from '../../../proxy/pull/referrers-source.ts'

const subject = `sha256:${'0'.repeat(64)}` as const
const place = { upstream: { id: 'a', namespace: 'default', name: 'hub', mode: 'Active' }, repository: 'app' }

/** A registry whose list never ends; each page takes its time on a clock of the test's own. */
function endless({ pageMs, pageBytes }: { pageMs: number; pageBytes: number }) {
  const allowed: number[] = []
  let now = 0
  const questions = {
    async getList(_place: Place, _resource: string, _accept: string, firstByteMs: number) {
      allowed.push(firstByteMs)
      now += pageMs
      const headers = { contentType: indexMediaType, link: `<?page=${allowed.length}>; rel="next"` }
      const body = JSON.stringify({ manifests: [{ note: 'x'.repeat(pageBytes) }] })
      return { answer: { headers }, body: Buffer.from(body) }
    },
  } as unknown as Questions
  const source = createReferrersSource({ questions, now: () => now })
  return { allowed, list: (ms: number) => source.list(place as Place, subject, ms) }
}

it('gives all pages together no more time than one', async () => {
  const { allowed, list } = endless({ pageMs: 4_000, pageBytes: 1 })
  await expect(list(10_000)).rejects.toMatchObject({ kind: 'timeout' })
  expect(allowed).toEqual([10_000, 6_000, 2_000])
})

it('U18: refuses pages that together are more than one may be', async () => {
  const { allowed, list } = endless({ pageMs: 0, pageBytes: 1024 ** 2 })
  await expect(list(10_000)).rejects.toMatchObject({ kind: 'invalid-response' })
  expect(allowed).toHaveLength(4)
})

it('U45: ends after a bounded number of pages', async () => {
  const { allowed, list } = endless({ pageMs: 0, pageBytes: 1 })
  expect(await list(10_000)).toMatchObject({ isEmpty: false })
  expect(allowed).toHaveLength(20)
})
