import { parseArgs } from 'node:util'
import { StartError } from './start-error.ts'

/** One setting of a command: a flag, and the variable it may come from instead. The flag wins. */
export interface Flag {
  readonly name: string
  /** What stands for the value in the help; undefined for a switch. */
  readonly value?: string
  readonly repeatable?: boolean
  readonly default?: string
  readonly help: string
}

/** Values by name: all of a repeatable flag, at most one otherwise; a switch that is on is `true`. */
export type FlagValues = ReadonlyMap<string, readonly string[]>

/** What is wrong with a command line or the environment: every problem at once, by name and never by value of a secret. */
export class UsageError extends StartError {
  override readonly name = 'UsageError'
  override readonly exitCode = 2
}

export function environmentNameOf({ name }: Flag): string {
  return `HEADWATER_${name.toUpperCase().replaceAll('-', '_')}`
}

/**
 * Reads the arguments, then the environment (several values of a repeatable flag separated by commas, a switch as true or
 * false), then defaults. Throws UsageError.
 */
export function readFlags(
  flags: readonly Flag[],
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): FlagValues {
  const given = parse(flags, args)
  const values = new Map<string, string[]>()
  for (const flag of flags) {
    const fromEnvironment = environment[environmentNameOf(flag)]
    const found = given.get(flag.name) ?? (fromEnvironment ? readVariable(flag, fromEnvironment) : undefined)
    if (found) values.set(flag.name, found)
    else if (flag.default !== undefined) values.set(flag.name, [flag.default])
  }
  return values
}

/** Undefined for a switch that is off. */
function readVariable(flag: Flag, text: string): string[] | undefined {
  if (flag.repeatable) return text.split(',').map((value) => value.trim())
  if (flag.value !== undefined || text === 'true') return [text]
  if (text === 'false') return undefined
  throw new UsageError([`${environmentNameOf(flag)}: is neither true nor false`])
}

function parse(flags: readonly Flag[], args: readonly string[]): Map<string, string[]> {
  const options = Object.fromEntries(
    flags.map(({ name, value }) => [
      name,
      { type: value === undefined ? 'boolean' : 'string', multiple: true } as const,
    ]),
  )
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true })
  const given = new Map<string, string[]>()
  const problems: string[] = []
  for (const token of tokens) {
    if (token.kind === 'positional')
      problems.push(`${JSON.stringify(token.value)}: this command takes flags alone`)
    if (token.kind !== 'option') continue
    const flag = flags.find(({ name }) => name === token.name)
    if (!flag) {
      problems.push(`${token.rawName}: there is no such flag; see --help`)
      continue
    }
    const problem = problemWith(flag, token.value)
    if (problem !== undefined) problems.push(problem)
    const before = flag.repeatable ? given.get(flag.name) : undefined
    given.set(flag.name, [...(before ?? []), token.value ?? 'true'])
  }
  if (problems.length > 0) throw new UsageError(problems)
  return given
}

function problemWith(flag: Flag, value: string | undefined): string | undefined {
  if (flag.value !== undefined && !value) return `--${flag.name}: needs a value, ${flag.value}`
  if (flag.value === undefined && value !== undefined) return `--${flag.name}: takes no value`
  return undefined
}

export function formatHelp(command: string, summary: string, flags: readonly Flag[]): string {
  const rows = flags.map((flag) => {
    const left = flag.value === undefined ? `--${flag.name}` : `--${flag.name} ${flag.value}`
    const notes = [
      flag.repeatable ? 'may be given more than once' : undefined,
      flag.default === undefined ? undefined : `default ${flag.default}`,
      environmentNameOf(flag),
    ]
    return { left, right: `${flag.help} (${notes.filter((text) => text !== undefined).join('; ')})` }
  })
  const width = Math.max(...rows.map(({ left }) => left.length)) + 2
  const lines = rows.map(({ left, right }) => `  ${left.padEnd(width)}${right}`)
  return [`headwater ${command}: ${summary}`, '', ...lines, ''].join('\n')
}
