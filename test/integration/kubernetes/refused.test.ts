import { afterAll, beforeAll, expect, it } from 'vitest'
import { kinds } from '../../../operator/api/kinds.ts'
import { apiVersion } from '../../../operator/api/object.ts'
import { badObjects, objectOf } from '../../operator/api/bad-objects.ts'
import { references, smuggledNames } from '../../operator/api/references.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type ApiServer, apiServerParts, startApiServer } from '../../rig/kubernetes/api-server.ts'

const rows = badObjects.map((bad, at) => ({ name: `bad-${at}`, ...bad }))

describeWithParts(apiServerParts, 'kubectl apply --dry-run=server', () => {
  let server: ApiServer
  let said = ''

  beforeAll(async () => {
    server = await startApiServer()
    const namespace = await server.createNamespace()
    const objects = rows.map((row) => JSON.stringify(objectOf(row, namespace)))
    const { code, stdout, stderr } = await server.kubectl(
      ['apply', '--dry-run=server', '-f', '-'],
      objects.join('\n---\n'),
    )
    expect(code).toBe(1)
    expect(stdout).toBe('')
    said = stderr
  })
  afterAll(() => server?.close())

  it.each(rows.map((row) => [`${row.kind}: ${row.title}`, row] as const))('refuses %s', (_, row) => {
    const line = said.split('\n').find((text) => text.includes(`"${row.name}" is invalid: `)) ?? ''
    const problems = line.replace(/^.* is invalid: \[?/, '').split(/, (?=(?:spec|metadata|<nil>)[.:[])/)
    const blamed = problems.filter((problem) => /^[:[]/.test(problem.slice(row.field.length)))
    expect(blamed.filter((problem) => problem.startsWith(row.field)).join('\n')).toContain(row.message)
  })

  it.each(
    references
      .filter(({ schema }) => schema.properties?.name)
      .map((each) => [`${each.kind} ${each.field}`, each] as const),
  )('refuses names that mean another namespace in %s', async (_, { kind, field }) => {
    const { plural } = kinds.find((each) => each.kind === kind)!
    for (const name of smuggledNames) {
      const spec = withName(kind, field, name)
      const object = objectOf({ kind, title: '', spec, field: '', message: '' }, 'test-1')
      const path = `/apis/${apiVersion}/namespaces/test-1/${plural}?dryRun=All`
      const { status, body } = await server.client.request('POST', path, object)
      expect([name, status]).toEqual([name, 422])
      expect(body.message).toContain(`${field.replace('[]', '[0]')}.name`)
      expect(body.message).toContain('expected lower-case letters, digits, "-" and "."')
    }
  })

  it('repeats no password', () => {
    expect(JSON.stringify(badObjects)).toContain('canary-in-url')
    expect(said).not.toContain('canary-in-url')
  })

  it('refuses an unknown field by name', async () => {
    const object = { kind: 'Upstream', title: '', spec: { ulr: 'https://a', url: 'https://a' } } as const
    const input = JSON.stringify(objectOf({ ...object, field: '', message: '' }, 'test-1'))
    const { stderr } = await server.kubectl(['apply', '--dry-run=server', '-f', '-'], input)
    expect(stderr).toContain('strict decoding error: unknown field "spec.ulr"')
  })

  it('stores nothing that was refused', async () => {
    for (const plural of ['upstreams', 'virtualregistries', 'cleanuppolicies']) {
      const { body } = await server.client.request('GET', `/apis/headwater.dev/v1alpha1/${plural}`)
      expect(body.items).toEqual([])
    }
  })
})

/** A spec that is sound but for the name in one of its references. */
function withName(kind: string, field: string, name: string): Record<string, unknown> {
  const build = ([first = '', ...rest]: readonly string[]): Record<string, unknown> => {
    const value = rest.length === 0 ? { name } : build(rest)
    return first.endsWith('[]') ? { [first.slice(0, -2)]: [value] } : { [first]: value }
  }
  const url = kind === 'Upstream' ? { url: 'https://registry.example.com' } : {}
  return { ...url, ...build(field.split('.').slice(1)) }
}
