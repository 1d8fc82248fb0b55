import type { Address } from './serve-settings.ts'

/** A start that cannot succeed: what a person must change, in one line each. */
export class StartError extends Error {
  override readonly name: string = 'StartError'
  readonly problems: readonly string[]
  readonly exitCode: number = 1
  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.problems = problems
  }
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'a part of this path is a file',
  EEXIST: 'this is a file, not a folder',
  ENOSPC: 'the disk is full',
  EADDRINUSE: 'another program listens there already; choose another port, or 0 for any',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'this host is not known',
}

/** What the system would not do with a flag's value; any other error is thrown as it is. */
export function refusedBySystem(error: unknown, flag: string, value: string): StartError {
  const { code = '' } = error as NodeJS.ErrnoException
  const reason = reasons[code]
  if (reason === undefined) throw error
  return new StartError([`${flag}: ${value}: ${reason}`])
}

export async function orStartError<T>(
  listening: Promise<T>,
  flag: string,
  { host, port }: Address,
): Promise<T> {
  try {
    return await listening
  } catch (error) {
    throw refusedBySystem(error, flag, `${host}:${port}`)
  }
}
