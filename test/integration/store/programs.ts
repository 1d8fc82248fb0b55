import { spawnSync } from 'node:child_process'
import { describe, it } from 'vitest'

/** A group of tests that needs a program of the system: left out by name where it is missing, and red there when CI is set. */
export function describeWithProgram(program: string, title: string, body: () => void): void {
  const found = spawnSync('sh', ['-c', `command -v ${program}`]).status === 0
  describeWhen(found, `the program ${program}`, title, body)
}

/** Mounting is for root alone. */
export function describeAsRoot(title: string, body: () => void): void {
  describeWhen(process.getuid?.() === 0 && process.platform === 'linux', 'root on Linux', title, body)
}

function describeWhen(found: boolean, needed: string, title: string, body: () => void): void {
  if (found) return void describe(title, body)
  describe(title, () => {
    it.skipIf(!process.env.CI)(`has what it needs (left out: ${needed})`, () => {
      throw new Error(`${needed} is missing`)
    })
  })
}
