import { readFile, writeFile } from 'node:fs/promises'
import type { Cell } from './client.ts'

export const pagePath = 'docs/clients.md'
/** Set: what the tests see is written to the page, with everything at its full size. */
export const writing = Boolean(process.env.HEADWATER_WRITE_CLIENTS)

export interface Table {
  readonly rows: readonly string[]
  readonly columns: readonly string[]
  readonly cells: ReadonlyMap<string, Cell>
}

export function cellKey(row: string, column: string): string {
  return `${row} × ${column}`
}

/** A table in Markdown, and below it each limit of a client once, in the client's words. */
export function formatTable({ rows, columns, cells }: Table): string {
  const limits: string[] = []
  const numberOf = (failure: string): number => {
    if (!limits.includes(failure)) limits.push(failure)
    return limits.indexOf(failure) + 1
  }
  const text = (cell: Cell | undefined): string => {
    if (cell?.verdict === 'same') return '✓'
    return cell?.verdict === 'limit' ? `limit ${numberOf(cell.failure)}` : ''
  }
  const lines = rows.map(
    (row) => `| ${row} | ${columns.map((column) => text(cells.get(cellKey(row, column)))).join(' | ')} |`,
  )
  const table = [`| | ${columns.join(' | ')} |`, `|---|${columns.map(() => '---|').join('')}`, ...lines]
  if (limits.length > 0) table.push('', ...limits.map((failure, at) => `${at + 1}. \`${failure}\``))
  return table.join('\n')
}

/** The cells of a page's tables: `✓`, `limit 1` or nothing. */
export function parseTables(page: string): ReadonlyMap<string, string> {
  const cells = new Map<string, string>()
  let columns: string[] = []
  for (const line of page.split('\n')) {
    if (!line.startsWith('|')) {
      columns = []
      continue
    }
    const [first = '', ...rest] = line
      .split('|')
      .slice(1, -1)
      .map((one) => one.trim())
    if (columns.length === 0) columns = rest
    else if (!first.startsWith('---')) {
      for (const [at, column] of columns.entries()) cells.set(cellKey(first, column), rest[at] ?? '')
    }
  }
  return cells
}

export async function committedCells(): Promise<ReadonlyMap<string, string>> {
  return parseTables(await readFile(pagePath, 'utf8').catch(() => ''))
}

/** Replaces what stands between a section's marks; the rest of the page is another test's, or written by hand. */
export async function writeSection(name: string, text: string): Promise<void> {
  const page = await readFile(pagePath, 'utf8')
  const [begin, end] = [`<!-- ${name}: generated -->`, `<!-- ${name}: end -->`]
  const [before, after] = [page.indexOf(begin), page.indexOf(end)]
  if (before < 0 || after < 0) throw new Error(`${pagePath} has no section ${name}`)
  await writeFile(pagePath, `${page.slice(0, before)}${begin}\n\n${text}\n\n${page.slice(after)}`)
}
