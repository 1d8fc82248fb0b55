import { describe, expect, it } from 'vitest'
import { kinds } from '../../../operator/api/kinds.ts'
import { formatField, parseResource } from '../../../operator/api/parse.ts'
import { badObjects, objectOf } from './bad-objects.ts'

describe('a bad object is refused by its schema with a message that says what to write', () => {
  it.each(badObjects.map((bad) => [`${bad.kind}: ${bad.title}`, bad] as const))('%s', (_, bad) => {
    const { schema } = kinds.find(({ kind }) => kind === bad.kind)!
    const { problems = [] } = parseResource(schema, objectOf(bad, 'default'))
    const blamed = problems.filter(({ path }) => formatField(path).startsWith(bad.field))
    expect(blamed.map(({ message }) => message).join('\n')).toContain(bad.ours ?? bad.message)
  })
})
