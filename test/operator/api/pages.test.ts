import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { createCrd, type Schema } from '../../../operator/api/crd.ts'
import { kinds } from '../../../operator/api/kinds.ts'
import { parseResource } from '../../../operator/api/parse.ts'

function namesIn(schema: Schema): string[] {
  const fields = Object.entries(schema.properties ?? {}).flatMap(([name, field]) => [name, ...namesIn(field)])
  return schema.items ? [...fields, ...namesIn(schema.items)] : fields
}

describe.each(kinds)('the page of $kind', (each) => {
  const page = readFileSync(`docs/kinds/${each.kind.toLowerCase()}.md`, 'utf8')
  const { properties = {} } = createCrd(each).spec.versions[0]!.schema.openAPIV3Schema

  it('has every field of spec and status', () => {
    const names = [...namesIn(properties.spec!), ...namesIn(properties.status!)]
    expect(names.length).toBeGreaterThan(15)
    expect(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(page))).toEqual([])
  })

  it('has every choice and every default that is not of a list', () => {
    const choices = JSON.stringify(properties.spec).matchAll(/"enum":\[([^\]]*)\]/g)
    const words = [...choices].flatMap(([, list]) => JSON.parse(`[${list}]`) as string[])
    expect(words.length).toBeGreaterThan(4)
    expect(words.filter((word) => !page.includes(word))).toEqual([])
  })

  it('shows objects that are accepted', () => {
    const blocks = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, block]) => block!)
    expect(blocks).toHaveLength(2)
    const objects = blocks.flatMap((block) => parseAllDocuments(block)).map((document) => document.toJS())
    const own = objects.filter(({ kind }) => kind === each.kind)
    expect(own).toHaveLength(2)
    for (const object of own) expect(parseResource(each.schema, object).problems).toBeUndefined()
  })

  it('has its short name and the fields it can be selected by', () => {
    expect(page).toContain(`Short name \`${each.shortName}\``)
    for (const field of each.selectableFields) expect(page).toContain(`\`${field.slice(1)}\``)
  })
})
