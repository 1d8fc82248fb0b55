import { type Secret, textOf } from '../api/core.ts'
import { allowPlainHttpAnnotation, registryHostAnnotation } from '../api/object.ts'
import { type Finding, missingObject, type Reason } from '../problem.ts'
import { type Address, hostsAlike, isLoopback, parseHostKey } from './address.ts'

export interface Credentials {
  readonly username: string
  readonly password: string
}

export type Chosen =
  | { readonly credentials: Credentials; readonly finding?: undefined }
  | { readonly credentials?: undefined; readonly finding: Finding }

const path = ['spec', 'credentialsSecretRef']

/**
 * The account a Secret has for this address. The Secret says where it may be sent, so that whoever may write an
 * Upstream, but not read Secrets, cannot have it sent elsewhere. `secret` is undefined when there is none of that name.
 */
export function chooseCredentials(name: string, secret: Secret | undefined, address: Address): Chosen {
  if (secret === undefined) return { finding: missingObject([...path, 'name'], { kind: 'Secret', name }) }
  const chosen = chooseByType(secret, address)
  if (chosen.finding) return chosen

  const allowed = secret.metadata.annotations?.[allowPlainHttpAnnotation] === 'true'
  if (address.scheme === 'http' && !isLoopback(address) && !allowed) {
    return refuse(
      'PlainHttpNotPermitted',
      `credentials would go over http:// in plain text; use https://, or annotate Secret ${name} with ${allowPlainHttpAnnotation}: "true"`,
    )
  }
  return chosen
}

function chooseByType(secret: Secret, address: Address): Chosen {
  switch (secret.type) {
    case 'kubernetes.io/dockerconfigjson':
      return fromDockerConfig(secret, address)
    case 'kubernetes.io/basic-auth':
      return fromBasicAuth(secret, address)
    default:
      return refuse(
        'SecretTypeNotSupported',
        `Secret ${secret.metadata.name} has another type than kubernetes.io/dockerconfigjson and kubernetes.io/basic-auth`,
      )
  }
}

function fromBasicAuth(secret: Secret, address: Address): Chosen {
  const { name, annotations } = secret.metadata
  const allowed = annotations?.[registryHostAnnotation]
  if (allowed === undefined || allowed.toLowerCase() !== address.host) {
    const said = allowed === undefined ? 'names no host' : 'names another host'
    return refuse(
      'HostNotPermitted',
      `Secret ${name} ${said}; to send it to ${address.host}, annotate it with ${registryHostAnnotation}: ${address.host}`,
    )
  }
  const username = textOf(secret, 'username')
  const password = textOf(secret, 'password')
  if (username === undefined || password === undefined) {
    return refuse('CredentialsInvalid', `Secret ${name} needs both username and password`)
  }
  return checked(name, { username, password })
}

interface Candidate {
  readonly credentials: Credentials | undefined
  /** 0: the very host; 1: another name of it; 2: with a path, which is ignored. */
  readonly rank: number
}

function fromDockerConfig(secret: Secret, address: Address): Chosen {
  const { name } = secret.metadata
  const text = textOf(secret, '.dockerconfigjson')
  if (text === undefined) return refuse('CredentialsInvalid', `Secret ${name} has no key .dockerconfigjson`)
  const entries = authsOf(text)
  if (entries === undefined) {
    return refuse('CredentialsInvalid', `.dockerconfigjson of Secret ${name} is no JSON object with "auths"`)
  }

  const candidates = entries.flatMap(([key, entry]) => candidateOf(key, entry, address))
  const best = Math.min(...candidates.map(({ rank }) => rank))
  const [first, ...others] = candidates.filter(({ rank }) => rank === best).map((each) => each.credentials)
  if (candidates.length === 0) {
    return refuse('HostNotPermitted', `.dockerconfigjson of Secret ${name} has no entry for ${address.host}`)
  }
  if (first === undefined) {
    return refuse(
      'CredentialsInvalid',
      `.dockerconfigjson of Secret ${name} has neither "auth" nor "username" and "password" for ${address.host}`,
    )
  }
  if (others.some((other) => other?.username !== first.username || other.password !== first.password)) {
    return refuse(
      'CredentialsAmbiguous',
      `.dockerconfigjson of Secret ${name} has several accounts for ${address.host}; keep one`,
    )
  }
  return checked(name, first)
}

function candidateOf(key: string, entry: unknown, address: Address): Candidate[] {
  const found = parseHostKey(key, address.scheme)
  if (found === undefined || !hostsAlike(address.host).includes(found.host)) return []
  const rank = found.hasPath ? 2 : found.host === address.host ? 0 : 1
  return [{ rank, credentials: credentialsOf(entry) }]
}

/** As Kubernetes reads it: `auth` wins over `username` and `password`. */
function credentialsOf(entry: unknown): Credentials | undefined {
  if (!isObject(entry)) return undefined
  if (typeof entry.auth === 'string' && entry.auth !== '') {
    const [, username, password] = /^([^:]*):([\s\S]*)$/.exec(decode(entry.auth)) ?? []
    return username === undefined || password === undefined ? undefined : { username, password }
  }
  const { username, password } = entry
  return typeof username === 'string' && typeof password === 'string' ? { username, password } : undefined
}

function authsOf(text: string): [string, unknown][] | undefined {
  try {
    const config: unknown = JSON.parse(text)
    return isObject(config) && isObject(config.auths) ? Object.entries(config.auths) : undefined
  } catch {
    return undefined // what JSON.parse says has the text in it
  }
}

/** The same text less all that is not read of it here. */
export function trimDockerConfig(text: string): string {
  const entries = authsOf(text)
  if (entries === undefined) return ''
  const auths = entries.map(([host, entry]) => [host, isObject(entry) ? trimEntry(entry) : {}])
  return JSON.stringify({ auths: Object.fromEntries(auths) })
}

function trimEntry(entry: Record<string, unknown>): Record<string, string> {
  const longest = { auth: longestAuth, username: tooLong, password: tooLong }
  const texts = Object.entries(longest).flatMap(([field, most]) => {
    const value = entry[field]
    return typeof value === 'string' ? [[field, value.slice(0, most)]] : []
  })
  return Object.fromEntries(texts)
}

/** Docker itself pads the password with NULs. A regular expression would take seconds over many that are not at the end. */
function decode(auth: string): string {
  const bytes = Buffer.from(auth, 'base64')
  const last = bytes.findLastIndex((byte) => byte !== 0)
  return bytes.toString('utf8', 0, last + 1)
}

const maxLength = 16 * 1024
/** Of a name or password no more is needed to see that it is. */
export const tooLong = maxLength + 1
/** In base64 that is longer one of the two is, whatever signs they have. */
const longestAuth = 12 * maxLength

function checked(name: string, credentials: Credentials): Chosen {
  for (const [what, value] of Object.entries(credentials)) {
    if (value === '') return refuse('CredentialsInvalid', `the ${what} in Secret ${name} is empty`)
    if (value.length > maxLength)
      return refuse('CredentialsInvalid', `the ${what} in Secret ${name} is too long`)
    if (/\n$/.test(value)) {
      return refuse('CredentialsInvalid', `the ${what} in Secret ${name} has a line break at its end`)
    }
    if (value.includes('\uFFFD') || value.startsWith('\uFEFF')) {
      return refuse(
        'CredentialsInvalid',
        `the ${what} in Secret ${name} is no UTF-8, or has a byte order mark`,
      )
    }
    if (/\p{Cc}/u.test(value)) {
      return refuse('CredentialsInvalid', `the ${what} in Secret ${name} has control characters in it`)
    }
  }
  if (credentials.username.includes(':')) {
    return refuse('CredentialsInvalid', `the username in Secret ${name} has a colon in it`)
  }
  return { credentials }
}

function refuse(reason: Reason, message: string): Chosen {
  return { finding: { path, reason, message } }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
