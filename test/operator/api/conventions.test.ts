import { describe, expect, it } from 'vitest'
import { createCrd, type Schema } from '../../../operator/api/crd.ts'
import { kinds } from '../../../operator/api/kinds.ts'
import { yes } from '../../../operator/status.ts'
import { planUpstream, upstreamStatus } from '../../../operator/upstream/plan.ts'
import { seenUpstream } from '../seen.ts'

const all = kinds.flatMap((kind) => {
  const { properties = {} } = createCrd(kind).spec.versions[0]!.schema.openAPIV3Schema
  return (['spec', 'status'] as const).flatMap((part) => below(properties[part]!, `${kind.kind}.${part}`))
})

function below(schema: Schema, place: string): (readonly [string, Schema])[] {
  const fields = Object.entries(schema.properties ?? {})
  const inner = fields.flatMap(([name, field]) => [
    [`${place}.${name}`, field] as const,
    ...below(field, `${place}.${name}`),
  ])
  return schema.items ? [...inner, [`${place}[]`, schema.items], ...below(schema.items, `${place}[]`)] : inner
}

describe('fields of the kinds', () => {
  it('T8: have no phase', () => {
    expect(all.filter(([place]) => /phase/i.test(place))).toEqual([])
  })

  it('T19: have words in CamelCase, no floats, and durations with their unit', () => {
    const words = all.flatMap(([, { enum: values = [] }]) => values as string[])
    expect(words.filter((word) => !/^[A-Z][A-Za-z]+$/.test(word))).toEqual([])
    expect(all.filter(([, { type }]) => type === 'number')).toEqual([])
    const whole = all.filter(([, { type }]) => type === 'integer')
    expect(whole.filter(([, { format }]) => format !== 'int32' && format !== 'int64')).toEqual([])
    const durations = all.filter(([place]) =>
      /(?:timeout|validity|period|retention|interval|keep\w*)/i.test(place.split('.').at(-1)!),
    )
    expect(durations.map(([place]) => place).filter((place) => !/(?:Seconds|Days)$/.test(place))).toEqual([])
  })
})

it('T8, T9: conditions are adjectives and participles', () => {
  const upstream = seenUpstream({ url: 'https://1.2.3.4.5' })
  const lookup = { secret: () => undefined, configMap: () => undefined }
  const plan = planUpstream({ upstream, lookup, previous: undefined, health: undefined })
  const status = upstreamStatus({ upstream }, plan, yes('Programmed', ''), new Date())
  expect(status.conditions.map(({ type }) => type)).toEqual([
    ...['Ready', 'Accepted', 'ResolvedRefs', 'Programmed', 'Reachable', 'CredentialsValid', 'Stalled'],
  ])
})
