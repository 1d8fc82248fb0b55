import { ensureParts } from './parts.ts'

/** vitest's global setup of the tiers that use real programs, so that a single test also runs alone. */
export async function setup(): Promise<void> {
  const missing = await ensureParts((line) => console.log(line))
  for (const { name, reason } of missing) console.warn(`LEFT OUT: tests that need ${name}: ${reason}`)
}
