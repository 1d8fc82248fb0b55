import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { loadConfiguration } from '../../../cli/config/load.ts'
import { Upstream } from '../../../operator/api/upstream.ts'
import { VirtualRegistry } from '../../../operator/api/virtual-registry.ts'
import { folderWith } from './folder.ts'

const page = readFileSync('docs/configuration.md', 'utf8')

type Node = { properties?: Record<string, Node>; items?: Node }

function fieldsOf(node: Node): string[] {
  const inner = { ...node.properties, ...node.items?.properties }
  return Object.entries(inner).flatMap(([name, field]) => [name, ...fieldsOf(field)])
}

it('describes every field', () => {
  for (const kind of [Upstream, VirtualRegistry]) {
    const spec = (z.toJSONSchema(kind, { target: 'openapi-3.0', io: 'input' }) as Node).properties?.spec
    const fields = fieldsOf(spec!)
    expect(fields.length).toBeGreaterThan(10)
    expect(fields.filter((field) => !new RegExp(`\\b${field}\\b`).test(page))).toEqual([])
  }
})

it('shows YAML that can be served', async () => {
  const blocks = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, block]) => block!)
  expect(blocks.length).toBe(2)
  const { problems } = await loadConfiguration([await folderWith({ 'a.yaml': blocks.join('---\n') })])
  expect(problems).toBeUndefined()
})
