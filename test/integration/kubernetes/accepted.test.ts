import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createCrd } from '../../../operator/api/crd.ts'
import { group, kinds, version } from '../../../operator/api/kinds.ts'
import { parseResource } from '../../../operator/api/parse.ts'
import { change, changes, sampleOf } from '../../operator/api/arbitrary.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type ApiServer, apiServerParts, startApiServer } from '../../rig/kubernetes/api-server.ts'

const apiVersion = `${group}/${version}`

describeWithParts(apiServerParts, 'an API server', () => {
  let server: ApiServer
  let namespace: string

  beforeAll(async () => {
    server = await startApiServer()
    namespace = await server.createNamespace()
  })
  afterAll(() => server?.close())

  it.each(kinds)('accepts a $kind just where serve does, and reads the same out of it', async (each) => {
    const { kind, plural, schema } = each
    const { properties = {} } = createCrd(each).spec.versions[0]!.schema.openAPIV3Schema
    const path = `/apis/${apiVersion}/namespaces/${namespace}/${plural}?dryRun=All`
    let accepted = 0
    let refused = 0

    await fc.assert(
      fc.asyncProperty(sampleOf(properties.spec!), changes, async (sound, edits) => {
        const { spec } = change({ spec: sound }, edits) as { spec?: unknown }
        const object = { apiVersion, kind, metadata: { name: 'random', namespace }, spec }
        const sent = JSON.parse(JSON.stringify(object))
        const answer = await server.client.request('POST', path, sent)
        const ours = parseResource(schema, sent)

        if (answer.status === 201) accepted++
        else refused++
        const theirs = answer.status === 201 ? 'accepted' : `refused: ${answer.body.message}`
        if (ours.problems) {
          expect(theirs, `ours: ${JSON.stringify(ours.problems)}`).toMatch(/^refused: .*invalid|BadRequest/s)
          expect(answer.status).toBeLessThan(500)
        } else {
          expect(theirs).toBe('accepted')
          expect(parseResource(schema, answer.body).value?.spec).toEqual(ours.value.spec)
        }
      }),
      { numRuns: 400 },
    )
    expect(Math.min(accepted, refused)).toBeGreaterThan(60)
  })
})
