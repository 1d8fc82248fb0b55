import { randomBytes } from 'node:crypto'
import { emptyReply, json, refuse, repositoryOf } from './distribution-api.ts'
import type { SeenRequest } from './fault.ts'
import type { Reply } from './reply.ts'

/** How the fake upstream asks who somebody is. It may be changed while it runs. */
export interface UpstreamAuth {
  kind: 'none' | 'basic' | 'token'
  username?: string
  password?: string
  /** Is taken too, as while a password is exchanged. */
  otherPassword?: string | undefined
  /** Where the challenge sends for a token; the upstream's own `/token` where unset. */
  realm?: string
  service?: string
  /** Sent as `expires_in`, and after which a token is refused. */
  expiresInSeconds?: number
  /** Whether this account (undefined: anonymous) may pull. By default everybody who has the password, or all where none is set. */
  allows?: (account: string | undefined, repository: string) => boolean
}

export interface Gate {
  /** The refusal, or undefined for a request that may pass. */
  check(request: SeenRequest): Reply | undefined
  /** The answer of the token endpoint. */
  token(request: SeenRequest): Reply
  /** Every token given so far is refused from now on. */
  revokeTokens(): void
  /** Every token given so far, refused or not. */
  issued(): readonly string[]
}

interface Grant {
  readonly repositories: ReadonlySet<string>
  readonly expires: number
}

/** The Docker token authentication and Basic, as a registry and its token service speak them. */
export function createGate(auth: () => UpstreamAuth, origin: () => string): Gate {
  const grants = new Map<string, Grant>()
  const issued: string[] = []

  const allows = (account: string | undefined, repository: string): boolean => {
    const { allows: decide, username } = auth()
    return decide ? decide(account, repository) : username === undefined || account === username
  }

  const challenge = (request: SeenRequest, error?: string): Reply => {
    const { kind, realm = `${origin()}/token`, service = 'fake-upstream' } = auth()
    const reply = refuse(emptyReply(), 401, 'UNAUTHORIZED')
    const repository = repositoryOf(request.path)
    const parts = [`realm="${realm}"`, `service="${service}"`]
    if (repository !== undefined) parts.push(`scope="repository:${repository}:pull"`)
    if (error !== undefined) parts.push(`error="${error}"`)
    reply.headers['www-authenticate'] = kind === 'basic' ? 'Basic realm="fake"' : `Bearer ${parts.join(',')}`
    return reply
  }

  const checkToken = (request: SeenRequest): Reply | undefined => {
    const [, token] = /^bearer (.+)$/i.exec(String(request.headers.authorization ?? '')) ?? []
    if (token === undefined) return challenge(request)
    const grant = grants.get(token)
    if (!grant || grant.expires < Date.now()) return challenge(request, 'invalid_token')
    const repository = repositoryOf(request.path)
    if (repository === undefined || grant.repositories.has(repository)) return undefined
    return challenge(request, 'insufficient_scope')
  }

  return {
    check(request) {
      const { kind, username } = auth()
      if (kind === 'none') return undefined
      if (kind === 'token') return checkToken(request)
      const account = accountOf(request, auth())
      if (account === undefined || account !== username) return challenge(request)
      return allows(account, repositoryOf(request.path) ?? '')
        ? undefined
        : refuse(emptyReply(), 403, 'DENIED')
    },

    token(request) {
      const account = accountOf(request, auth())
      if (request.headers.authorization !== undefined && account === undefined) {
        return refuse(emptyReply(), 401, 'UNAUTHORIZED')
      }
      const scopes = request.query.getAll('scope').flatMap((scope) => scope.split(' '))
      const asked = scopes.flatMap((scope) => /^repository:(?<name>.+):pull/.exec(scope)?.groups?.name ?? [])
      const { expiresInSeconds = 300 } = auth()
      const token = `canary-token-${randomBytes(12).toString('hex')}`
      issued.push(token)
      grants.set(token, {
        repositories: new Set(asked.filter((repository) => allows(account, repository))),
        expires: Date.now() + expiresInSeconds * 1000,
      })
      const body = {
        token,
        access_token: token,
        expires_in: expiresInSeconds,
        issued_at: new Date().toISOString(),
      }
      return json(emptyReply(), body)
    },

    revokeTokens: () => grants.clear(),
    issued: () => issued,
  }
}

/** The account of right Basic credentials; undefined without any and with wrong ones. */
function accountOf(
  { headers }: SeenRequest,
  { username, password = '', otherPassword = password }: UpstreamAuth,
): string | undefined {
  const [, encoded] = /^basic (.+)$/i.exec(String(headers.authorization ?? '')) ?? []
  if (encoded === undefined || username === undefined) return undefined
  const given = Buffer.from(encoded, 'base64').toString()
  return [password, otherPassword].some((each) => given === `${username}:${each}`) ? username : undefined
}
