import type { Resource } from './resources.ts'

/** Every secret of the tests begins so, and nothing that Headwater says may contain it. */
export const canary = 'canary-'

/** A secret as it is, in base64 as Basic sends it, a signed token, or the key of a certificate. */
const secrets = new RegExp([canary, ...inBase64(canary), 'eyJ[\\w-]{8,}\\.eyJ', 'PRIVATE KEY-----'].join('|'))

/** I4: the lines of a text that have a secret in them. */
export function linesWithSecrets(text: string): string[] {
  return text.split('\n').filter((line) => secrets.test(line))
}

/** I4: throws with the line where a secret is in the text. */
export function expectNoSecrets(text: string): void {
  const [line] = linesWithSecrets(text)
  if (line !== undefined) throw new Error(`a secret is in the output: ${line.slice(0, 500)}`)
}

/** A secret that would not be found again is of no use: throws for a Secret of a configuration that begins otherwise. */
export function expectCanaries(resources: readonly Resource[]): void {
  for (const { kind, metadata, stringData } of resources) {
    const { password } = (stringData ?? {}) as { password?: unknown }
    if (kind === 'Secret' && password !== undefined && !String(password).startsWith(canary)) {
      throw new Error(`the password in ${JSON.stringify(metadata)} does not begin with ${canary}`)
    }
  }
}

/** What of a text is the same in base64 wherever in a longer text it begins. */
function inBase64(text: string): string[] {
  return [0, 1, 2].map((offset) => {
    const encoded = Buffer.from('\0'.repeat(offset) + text).toString('base64url')
    const complete = Math.floor(((offset + text.length) * 8) / 6)
    return encoded.slice(Math.ceil((offset * 8) / 6), complete)
  })
}
