import { readFileSync } from 'node:fs'
import { formatHelp, readFlags, UsageError } from './flags.ts'
import { operatorCommand } from './operator.ts'
import { proxyCommand } from './proxy.ts'
import { reindexCommand } from './reindex.ts'
import { scrubCommand } from './scrub.ts'
import { serveCommand } from './serve.ts'
import { StartError } from './start-error.ts'

/** A command reads its flags and runs to its end; what it resolves with is the exit code. */
export interface Command {
  readonly summary: string
  readonly flags: Parameters<typeof readFlags>[0]
  run(values: ReturnType<typeof readFlags>, environment: NodeJS.ProcessEnv): Promise<number>
}

const commands: Readonly<Record<string, Command>> = {
  serve: serveCommand,
  proxy: proxyCommand,
  operator: operatorCommand,
  scrub: scrubCommand,
  reindex: reindexCommand,
}

async function main(args: readonly string[]): Promise<number> {
  const [name = '', ...rest] = args
  if (name === '--version' || name === 'version') return say(`${version()}\n`)
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) {
    if (name === '' || name === '--help' || name === '-h' || name === 'help') return say(overview())
    const known = `commands: ${Object.keys(commands).join(', ')}`
    return complain(new UsageError([`${JSON.stringify(name)} is no command`, known]))
  }
  if (rest.includes('--help') || rest.includes('-h'))
    return say(formatHelp(name, command.summary, command.flags))
  try {
    return await command.run(readFlags(command.flags, rest, process.env), process.env)
  } catch (error) {
    if (error instanceof StartError) return complain(error)
    throw error
  }
}

function overview(): string {
  const rows = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`)
  return [
    'headwater: a container virtual registry',
    '',
    ...rows,
    '',
    'headwater <command> --help lists its flags',
    '',
  ].join('\n')
}

function version(): string {
  const { version: text } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  return text
}

function say(text: string): number {
  process.stdout.write(text)
  return 0
}

function complain({ problems, exitCode }: StartError): number {
  for (const problem of problems) process.stderr.write(`headwater: ${problem}\n`)
  return exitCode
}

process.exitCode = await main(process.argv.slice(2))
