import {
  Composer,
  type Document,
  isAlias,
  isCollection,
  isMap,
  isScalar,
  LineCounter,
  Parser,
  visit,
  type YAMLError,
  type YAMLMap,
} from 'yaml'
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
  const lineAt = (offset: number) => lines.linePos(offset).line
  let number = 0
  try {
    for (const document of compose(text, lines)) {
      number += 1
      if (number > maxDocuments) {
        problems.push(`${file}: more than ${maxDocuments} documents`)
        break
      }
      const faults = faultsOf(document)
      for (const { offset, message } of faults) {
        problems.push(`${file}:${lineAt(offset)}: document ${number}: not valid YAML: ${message}`)
      }
      if (faults.length > 0 || isEmpty(document)) continue
      const value: unknown = document.toJS({ maxAliasCount: maxAliases })
      documents.push({ file, number, value, lineOf: (path) => lineAt(offsetOf(document, path)) })
    }
  } catch (error) {
    // what yaml throws for too many aliases, and the engine for too deep a recursion
    if (!(error instanceof ReferenceError || error instanceof RangeError)) throw error
    const message = 'nested too deeply, or too large with its aliases in place'
    problems.push(`${file}: document ${Math.max(1, number)}: ${message}`)
  }
  return { documents, problems }
}

function compose(text: string, lines: LineCounter): Iterable<Document> {
  // the parser's own check for repeated keys takes time in proportion to their square
  const composer = new Composer({ merge: true, uniqueKeys: false })
  return composer.compose(new Parser(lines.addNewLine).parse(text))
}

interface Fault {
  readonly offset: number
  readonly message: string
}

/** The first few: the rest follow from them. */
function faultsOf(document: Document): Fault[] {
  const syntax = [...document.errors, ...document.warnings]
  const faults = syntax.map((fault) => ({ offset: fault.pos[0], message: explain(fault) }))
  return (faults.length > 0 ? faults : wrongKeysAndAliases(document)).slice(0, 3)
}

function isEmpty({ contents }: Document): boolean {
  return contents === null || (isScalar(contents) && contents.value === null)
}

function wrongKeysAndAliases(document: Document): Fault[] {
  const faults: Fault[] = []
  const anchors = new Set<string>()
  let aliases = 0
  visit(document, {
    Node(_, node, path) {
      const offset = node.range?.[0] ?? 0
      if (!isAlias(node)) {
        if (node.anchor !== undefined) anchors.add(node.anchor)
        if (isMap(node)) faults.push(...repeatedKeys(node).slice(0, 3))
        return undefined
      }
      aliases += 1
      if (aliases > maxAliases) {
        faults.push({ offset, message: `more than ${maxAliases} aliases` })
        return visit.BREAK
      }
      const isInside = path.some((around) => isCollection(around) && around.anchor === node.source)
      if (isInside || !anchors.has(node.source))
        faults.push({ offset, message: 'an alias without an anchor before it' })
      return undefined
    },
  })
  return faults
}

function repeatedKeys({ items }: YAMLMap): Fault[] {
  const seen = new Set<unknown>()
  return items.flatMap(({ key }) => {
    if (!isScalar(key) || !seen.has(key.value)) {
      if (isScalar(key)) seen.add(key.value)
      return []
    }
    return [{ offset: key.range?.[0] ?? 0, message: 'the same key twice' }]
  })
}

function offsetOf(document: Document, path: readonly (string | number)[]): number {
  for (let length = path.length; length > 0; length -= 1) {
    const offset = offsetOfField(document, path.slice(0, length))
    if (offset !== undefined) return offset
  }
  return (document.contents as { range?: readonly number[] } | null)?.range?.[0] ?? document.range?.[0] ?? 0
}

/** Where the key of a field is, or an item of a list; undefined for what is not there. */
function offsetOfField(document: Document, path: readonly (string | number)[]): number | undefined {
  const around = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true)
  const key = isMap(around)
    ? around.items.find((pair) => isScalar(pair.key) && pair.key.value === path.at(-1))?.key
    : undefined
  const node = key ?? document.getIn(path, true)
  return (node as { range?: readonly number[] } | undefined)?.range?.[0]
}

const texts: Readonly<Record<string, string>> = {
  BAD_DQ_ESCAPE: 'an unknown escape in a double-quoted text',
  BAD_INDENT: 'wrong indentation',
  BLOCK_AS_IMPLICIT_KEY: 'a second ": " in one line (put the text in quotes), or wrong indentation',
  MISSING_CHAR: 'a quote, bracket, colon or comma is missing',
  MULTILINE_IMPLICIT_KEY: 'a key without ":", or wrong indentation',
  RESOURCE_EXHAUSTION: 'nested too deeply',
  TAB_AS_INDENT: 'a tab for indentation; use spaces',
  TAG_RESOLVE_FAILED: 'an unknown tag ("!")',
  UNEXPECTED_TOKEN: 'something unexpected here',
}

function explain({ code }: YAMLError): string {
  return texts[code] ?? code.toLowerCase().replaceAll('_', ' ')
}
