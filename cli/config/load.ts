import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { compileResources } from '../../operator/compile.ts'
import type { RouteDocuments } from '../../proxy/routes.ts'
import { parseDocuments, type SourceDocument } from './parse-documents.ts'
import { readFiles } from './read-files.ts'
import { readResources } from './read-resources.ts'

/** Either documents or problems, never both: a configuration is taken whole or not at all. */
export type Configuration = {
  /** Differs when the files' texts differ. */
  readonly fingerprint: string
} & (
  | { readonly documents: RouteDocuments; readonly problems?: undefined }
  | { readonly documents?: undefined; readonly problems: readonly string[] }
)

const maxDocuments = 5000
const maxProblems = 100

/**
 * Reads files and folders of YAML and compiles them. Whatever is wrong with them is said in `problems`, a line each,
 * at most a hundred: it does not throw.
 */
export async function loadConfiguration(paths: readonly string[]): Promise<Configuration> {
  const { files, problems: unread } = await readFiles(paths)
  const hash = createHash('sha256').update(JSON.stringify(unread))
  const documents: SourceDocument[] = []
  const problems = [...unread]
  for (const file of files) {
    hash.update(JSON.stringify([file.path, file.text]))
    const parsed = parseDocuments(file)
    documents.push(...parsed.documents)
    problems.push(...parsed.problems)
    if (documents.length > maxDocuments) {
      problems.push(`${file.path}: more than ${maxDocuments} documents in all`)
      break
    }
    await setImmediate() // pulls go on during a reload
  }
  const fingerprint = hash.digest('hex')

  const isWholeRead = problems.length === 0
  const { resources, problems: invalid, mayBeDeclared, locate } = readResources(documents)
  const compiled = compileResources(resources)
  problems.push(...invalid)
  for (const problem of compiled.problems) {
    const { kind, namespace, name, missing } = problem
    // what is missing may be in what could not be read: one mistake, one line
    const isExplained = missing && (!isWholeRead || mayBeDeclared(missing.kind, namespace, missing.name))
    if (!isExplained) problems.push(locate(kind, namespace, name, problem))
  }
  if (problems.length === 0 && resources.virtualRegistries.length === 0) {
    problems.push(`${paths.join(', ')}: no VirtualRegistry, so nothing would be served`)
  }
  if (problems.length === 0) return { fingerprint, documents: compiled.documents }
  const more = problems.length - maxProblems
  return {
    fingerprint,
    problems: more > 0 ? [...problems.slice(0, maxProblems), `and ${more} more`] : problems,
  }
}
