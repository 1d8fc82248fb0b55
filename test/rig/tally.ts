/** What a tier came to. */
export interface Tally {
  passed: number
  failed: number
  readonly skipped: string[]
  readonly failures: string[]
}

export function tallyOf(passed: readonly string[], failures: readonly string[]): Tally {
  return { passed: passed.length, failed: failures.length, skipped: [], failures: [...failures] }
}

/** The part of vitest's JSON report that is counted; it is Jest's format. */
export interface Report {
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly message?: string
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[]
  }[]
}

/** Counts tests, and a file that failed without one (it could not be read) as one. */
export function countReport({ testResults }: Report): Tally {
  const tally: Tally = { passed: 0, failed: 0, skipped: [], failures: [] }
  for (const { name, status, assertionResults } of testResults) {
    for (const { fullName, status: one } of assertionResults) {
      if (one === 'passed') tally.passed++
      else if (one === 'failed') tally.failures.push(fullName)
      else tally.skipped.push(fullName)
    }
    const explained = assertionResults.some((one) => one.status === 'failed')
    if (status === 'failed' && !explained) tally.failures.push(`${name} as a whole`)
  }
  tally.failed = tally.failures.length
  return tally
}
