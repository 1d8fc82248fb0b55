import { run } from '../process.ts'
import { ClientFailure } from './client.ts'

/** Runs a client's command; what it says when it fails is the line that `said` finds, or else its last one. */
export async function runClient(
  command: string,
  args: readonly string[],
  { said = /(?:^|\n)(?<what>[^\n]+)\s*$/, ...options }: { said?: RegExp } & Parameters<typeof run>[2] = {},
): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, { timeoutMs: 300_000, ...options })
  if (code === 0) return stdout
  const output = `${stdout}\n${stderr}`.trim()
  throw new ClientFailure(said.exec(output)?.groups?.what ?? output)
}
