import { expect, it } from 'vitest'
import { countReport } from './tally.ts'

it('counts tests by what became of them, and a file that could not be read as a failure', () => {
  const assertionResults = [
    { fullName: 'a good one', status: 'passed' },
    { fullName: 'a bad one', status: 'failed' },
    { fullName: 'one left out', status: 'skipped' },
    { fullName: 'one not written', status: 'todo' },
  ]
  const testResults = [
    { name: 'one.test.ts', status: 'failed', assertionResults },
    { name: 'two.test.ts', status: 'failed', message: 'SyntaxError', assertionResults: [] },
  ]
  expect(countReport({ testResults })).toEqual({
    passed: 1,
    failed: 2,
    skipped: ['one left out', 'one not written'],
    failures: ['a bad one', 'two.test.ts as a whole'],
  })
})
