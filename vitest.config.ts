import { defineConfig } from 'vitest/config'

/**
 * `unit` needs no other program. `integration` starts real registries, clients and faults on loopback. `long` is what
 * takes minutes: loads, leaks and a hundred crashes; `HEADWATER_SHORT` makes it a tenth of that.
 */
// Two busy cores make a real process late now and then: in CI what fails is tried once more, and vitest says so.
const retry = process.env.CI ? 1 : 0
// a second, as vitest has it, is less than a busy disk takes for one fsync
const poll = { timeout: 10_000 }

export default defineConfig({
  test: {
    reporters: ['default'],
    // of the unit tests; the others have one file at a time. On two cores vitest would take one
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/integration/**', 'test/long/**'],
          testTimeout: 20_000,
          retry,
          expect: { poll },
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          globalSetup: ['test/rig/install-parts.ts'],
          testTimeout: 120_000,
          retry,
          expect: { poll },
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'long',
          include: ['test/long/**/*.test.ts'],
          globalSetup: ['test/rig/install-parts.ts'],
          // what hangs in CI must not hold it up for an hour
          testTimeout: process.env.HEADWATER_SHORT === '1' ? 300_000 : 3_600_000,
          retry,
          expect: { poll },
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
