import { expect, it } from 'vitest'
import { createAdmin } from '../../../proxy/http/admin.ts'

const metrics = { contentType: 'text/plain; version=0.0.4; charset=utf-8', scrape: async () => 'a 1\n' }

it('lives as long as it answers', async () => {
  const admin = createAdmin({ notReady: () => 'starting', metrics })
  expect(await admin.inject('/livez')).toMatchObject({ statusCode: 200, body: 'ok\n' })
})

it('says whether it is ready, or why not', async () => {
  let reason: string | undefined = 'no configuration yet'
  const admin = createAdmin({ notReady: () => reason, metrics })
  expect(await admin.inject('/readyz')).toMatchObject({ statusCode: 503, body: 'no configuration yet\n' })
  reason = undefined
  expect(await admin.inject('/readyz')).toMatchObject({ statusCode: 200, body: 'ok\n' })
})

it('shows the metrics in their own type', async () => {
  const answer = await createAdmin({ notReady: () => undefined, metrics }).inject('/metrics')
  expect(answer).toMatchObject({ statusCode: 200, body: 'a 1\n' })
  expect(answer.headers['content-type']).toBe(metrics.contentType)
})

it('has nothing of the registry', async () => {
  const admin = createAdmin({ notReady: () => undefined, metrics })
  expect((await admin.inject('/v2/')).statusCode).toBe(404)
})
