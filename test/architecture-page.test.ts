import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const page = readFileSync('docs/architecture.md', 'utf8')
const quoted = [...page.matchAll(/`([^`\s]+)`/g)].map(([, text]) => text!)
const named = quoted.filter((text) => /^[\w-]+(?:\/[\w.-]+)*\/$|\.(?:ts|md)$/.test(text))

it('the page on the architecture walks the three pulls', () => {
  const headings = [...page.matchAll(/^## (.+)$/gm)].map(([, heading]) => heading)
  expect(headings).toEqual(['A cold pull', 'A warm pull', "A leader's death"])
  expect(named.length).toBeGreaterThan(50)
})

it.each([...new Set(named)])('%s, which it names, exists', (path) => {
  expect(existsSync(path)).toBe(true)
})

it.each([...page.matchAll(/\]\(([^)]+)\)/g)].map(([, target]) => target!))(
  'its link %s leads somewhere',
  (target) => {
    expect(existsSync(join('docs', target))).toBe(true)
  },
)
