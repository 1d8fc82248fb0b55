import { Composer, type Document, isMap, isScalar, LineCounter, Parser, visit, type YAMLError } from 'yaml'
import type { ConfigurationFile } from './read-files.ts'

/** One YAML document that is not empty. */
export interface SourceDocument {
  readonly file: string
  /** Counted from 1, empty documents included. */
  readonly number: number
  readonly value: unknown
  /** The line of a field, or of the nearest thing around it. */
  lineOf(path: readonly (string | number)[]): number
}

export interface ParsedFile {
  readonly documents: readonly SourceDocument[]
  readonly problems: readonly string[]
}

const maxDocuments = 1000
const maxAliases = 100

/** Problems never repeat the text, which may be that of a Secret; so the parser's own messages are not used. */
export function parseDocuments({ path: file, text }: ConfigurationFile): ParsedFile {
  const lines = new LineCounter()
  const documents: SourceDocument[] = []
  const problems: string[] = []
  let number = 0

  // the check for repeated keys that the parser has is quadratic
  const composer = new Composer({ merge: true, uniqueKeys: false })
  const composed = composer.compose(new Parser(lines.addNewLine).parse(text))
  for (const document of composed) {
    number += 1
    if (number > maxDocuments) {
      problems.push(`${file}: more than ${maxDocuments} documents`)
      break
    }
    const at = `document ${number}`
    const faults = [...document.errors, ...document.warnings].slice(0, 3)
    for (const fault of faults) {
      problems.push(`${file}:${lines.linePos(fault.pos[0]).line}: ${at}: not valid YAML: ${explain(fault)}`)
    }
    for (const offset of repeatedKeys(document)) {
      problems.push(`${file}:${lines.linePos(offset).line}: ${at}: not valid YAML: ${texts.DUPLICATE_KEY}`)
    }
    if (faults.length > 0 || isEmpty(document)) continue
    try {
      const value: unknown = document.toJS({ maxAliasCount: maxAliases })
      documents.push({ file, number, value, lineOf: (path) => lineOf(document, path, lines) })
    } catch {
      problems.push(
        `${file}:${lineOf(document, [], lines)}: ${at}: nested too deeply, or too many aliases (at most ${maxAliases})`,
      )
    }
  }
  return { documents, problems }
}

function isEmpty({ contents }: Document): boolean {
  return contents === null || (isScalar(contents) && contents.value === null)
}

function repeatedKeys(document: Document): number[] {
  const offsets: number[] = []
  visit(document, {
    Map(_, map) {
      const seen = new Set<unknown>()
      for (const { key } of map.items) {
        if (!isScalar(key)) continue
        if (seen.has(key.value)) offsets.push(key.range?.[0] ?? 0)
        seen.add(key.value)
      }
    },
  })
  return offsets.slice(0, 3)
}

function lineOf(document: Document, path: readonly (string | number)[], lines: LineCounter): number {
  for (let length = path.length; length >= 0; length -= 1) {
    const offset = offsetOf(document, path.slice(0, length))
    if (offset !== undefined) return lines.linePos(offset).line
  }
  return lines.linePos(document.range?.[0] ?? 0).line
}

/** Where the key of a field is, or an item of a list; undefined for a field that is not there. */
function offsetOf(document: Document, path: readonly (string | number)[]): number | undefined {
  const last = path.at(-1)
  const around = path.length === 0 ? document.contents : document.getIn(path.slice(0, -1), true)
  if (last !== undefined && isMap(around)) {
    const pair = around.items.find(({ key }) => isScalar(key) && key.value === last)
    return isScalar(pair?.key) ? pair.key.range?.[0] : undefined
  }
  const node = path.length === 0 ? around : document.getIn(path, true)
  return (node as { range?: readonly number[] } | undefined)?.range?.[0]
}

const texts: Readonly<Record<string, string>> = {
  BAD_ALIAS: 'an alias without its anchor',
  BAD_DQ_ESCAPE: 'an unknown escape in a double-quoted text',
  BAD_INDENT: 'wrong indentation',
  BLOCK_AS_IMPLICIT_KEY: 'a second ": " in one line (put the text in quotes), or wrong indentation',
  DUPLICATE_KEY: 'the same key twice',
  MISSING_CHAR: 'a quote, bracket, colon or comma is missing',
  MULTILINE_IMPLICIT_KEY: 'a key without ":", or wrong indentation',
  TAB_AS_INDENT: 'a tab for indentation; use spaces',
  TAG_RESOLVE_FAILED: 'an unknown tag ("!")',
  UNEXPECTED_TOKEN: 'something unexpected here',
}

function explain({ code }: YAMLError): string {
  return texts[code] ?? code.toLowerCase().replaceAll('_', ' ')
}
