import { randomUUID, sign, X509Certificate } from 'node:crypto'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { KeyPair } from './certificates.ts'

/** A token service for distribution: signs what a right user asks for, with its certificate in the token. */
export interface TokenServer {
  readonly realm: string
  /** The realm's host and port, for `tokenServiceHosts`: another port is another host here. */
  readonly host: string
  readonly service: string
  readonly issuer: string
  /** Token requests answered so far. */
  requests(): number
  close(): Promise<void>
}

/** https://distribution.github.io/distribution/spec/auth/jwt/ */
export async function startTokenServer({
  keyPair,
  tls,
  username,
  password,
  anonymousPull = false,
  expiresInSeconds = 300,
}: {
  /** Signs the tokens. */
  keyPair: KeyPair
  /** Listens with this certificate; crane refuses a plain realm beside a registry with TLS. */
  tls?: KeyPair | undefined
  username: string
  password: string
  anonymousPull?: boolean
  expiresInSeconds?: number
}): Promise<TokenServer> {
  const issuer = 'headwater-test-issuer'
  const service = 'headwater-test-registry'
  const certificate = new X509Certificate(keyPair.cert).raw.toString('base64')
  const right = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
  let requests = 0

  const listener: RequestListener = (request, response) => {
    requests++
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://token')
    const { authorization } = request.headers
    // containerd asks by POST first and takes 405 for "ask by GET"
    if (request.method !== 'GET' || pathname !== '/token') return void response.writeHead(405).end()
    if (authorization !== right && (authorization !== undefined || !anonymousPull)) {
      response.writeHead(401, { 'content-type': 'application/json' })
      return void response.end(
        JSON.stringify({ errors: [{ code: 'UNAUTHORIZED', message: 'wrong password' }] }),
      )
    }
    const access = searchParams.getAll('scope').flatMap((scope) =>
      scope.split(' ').flatMap((one) => {
        const { type, name, actions } = /^(?<type>\w+):(?<name>.+):(?<actions>[^:]*)$/.exec(one)?.groups ?? {}
        const allowed = actions
          ?.split(',')
          .filter((action) => authorization !== undefined || action === 'pull')
        return type && name && allowed ? [{ type, name, actions: allowed }] : []
      }),
    )
    const now = Math.floor(Date.now() / 1000)
    const token = signed(
      { typ: 'JWT', alg: 'ES256', x5c: [certificate] },
      {
        ...{ iss: issuer, sub: authorization ? username : '', aud: service, access, jti: randomUUID() },
        ...{ iat: now, nbf: now - 10, exp: now + expiresInSeconds },
      },
      keyPair.key,
    )
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ token, access_token: token, expires_in: expiresInSeconds }))
  }
  const server = tls ? createTlsServer({ key: tls.key, cert: tls.cert }, listener) : createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

  // a name, because crane refuses a realm on a loopback address that is not the registry itself
  const host = `localhost:${(server.address() as AddressInfo).port}`
  return {
    realm: `${tls ? 'https' : 'http'}://${host}/token`,
    host,
    service,
    issuer,
    requests: () => requests,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function signed(header: object, claims: object, key: string): string {
  const text = [header, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
  const signature = sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' })
  return `${text}.${signature.toString('base64url')}`
}
