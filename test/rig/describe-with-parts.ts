import { describe, it } from 'vitest'
import { missingParts, type PartName } from './parts.ts'

/** A group of tests that needs real programs: left out by name where one is missing, and red there when CI is set. */
export function describeWithParts(names: readonly PartName[], title: string, body: () => void): void {
  const missing = missingParts(names)
  if (missing.length === 0) return void describe(title, body)
  const reasons = missing.map(({ name, reason }) => `${name}: ${reason}`).join('; ')
  describe(title, () => {
    it.skipIf(!process.env['CI'])(`has what it needs (left out: ${reasons})`, () => {
      throw new Error(`missing ${reasons}`)
    })
  })
}
