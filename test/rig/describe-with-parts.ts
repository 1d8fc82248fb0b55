import { describe, it } from 'vitest'
import { missingParts, type PartName } from './parts.ts'

/**
 * A group of tests that needs real programs: left out where one is missing, by name, and red there when CI is set.
 * `body` is also called then, so that its titles are known; it asks for programs only within hooks and tests.
 */
export function describeWithParts(names: readonly PartName[], title: string, body: () => void): void {
  const missing = missingParts(names)
  if (missing.length === 0) {
    describe(title, body)
    return
  }
  const reasons = missing.map(({ name, reason }) => `${name}: ${reason}`).join('; ')
  describe.skip(`${title} (left out, ${reasons})`, body)
  it.skipIf(!process.env.CI)(`${title} has what it needs`, () => {
    throw new Error(reasons)
  })
}
