import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { loadConfiguration } from '../../../cli/config/load.ts'
import { createRouteTable, eligibleUpstreams } from '../../../proxy/route-table.ts'

it.each(readdirSync('examples').filter((name) => name.endsWith('.yaml')))(
  '%s can be served',
  async (name) => {
    const { problems, documents } = await loadConfiguration([`examples/${name}`])
    expect(problems).toBeUndefined()
    expect(documents?.registries.length).toBeGreaterThan(0)
  },
)

async function askedFor(repository: string, ns = '') {
  const { documents } = await loadConfiguration(['examples/standalone.yaml'])
  const name = { registry: undefined, repository: `hub/${repository}` }
  const found = createRouteTable(documents!).find(name, undefined)
  expect(found.registry.mayPullAnonymously(found.repository)).toBe(true)
  return eligibleUpstreams(found.registry, found.repository, ns).map(
    (eligible) => `${new URL(eligible.upstream.url).host}/${eligible.repository}`,
  )
}

it('standalone.yaml sends each name as it is written to five registries, in order', async () => {
  expect(await askedFor('library/alpine')).toEqual([
    'registry-1.docker.io/library/alpine',
    'dhi.io/library/alpine',
    'quay.io/library/alpine',
    'mcr.microsoft.com/library/alpine',
    'ghcr.io/library/alpine',
  ])
  expect((await askedFor('python')).slice(0, 2)).toEqual(['registry-1.docker.io/python', 'dhi.io/python'])
})

it('standalone.yaml is a mirror of each of them', async () => {
  expect(await askedFor('library/alpine', 'docker.io')).toEqual(['registry-1.docker.io/library/alpine'])
  expect(await askedFor('dotnet/sdk', 'mcr.microsoft.com')).toEqual(['mcr.microsoft.com/dotnet/sdk'])
})

it('standalone.yaml has a Secret to copy that works', async () => {
  const text = readFileSync('examples/standalone.yaml', 'utf8')
  const { parseDocuments } = await import('../../../cli/config/parse-documents.ts')
  const { readResources } = await import('../../../cli/config/read-resources.ts')
  const secret = text.slice(text.indexOf('# apiVersion: v1')).replaceAll(/^# /gm, '')
  const parsed = parseDocuments({ path: 'secret', text: secret })
  const { problems, resources } = readResources(parsed.documents)
  expect([...parsed.problems, ...problems]).toEqual([])
  expect(resources.secrets[0]?.metadata.annotations).toEqual({
    'headwater.dev/registry-host': 'registry-1.docker.io',
  })
})
