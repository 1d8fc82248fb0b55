import { expect, it } from 'vitest'
import type { Secret } from '../../../operator/api/core.ts'
import { parseAddress } from '../../../operator/upstream/address.ts'
import { chooseCredentials } from '../../../operator/upstream/credentials.ts'
import { basicAuth, dockerConfig, secret } from '../builders.ts'

const canary = 'c4n4ry'
const login = { username: 'me', password: canary }
const other = { username: 'you', password: canary }
const auth = Buffer.from(`me:${canary}`).toString('base64')

function choose(from: Secret | undefined, url: string) {
  return chooseCredentials('login', from, parseAddress(url)!)
}

function host(value: string) {
  return { 'headwater.dev/registry-host': value }
}

it.each<[string, Secret, string]>([
  ['the host itself', dockerConfig({ 'quay.io': login }), 'https://quay.io'],
  ['a key with scheme and path', dockerConfig({ 'https://quay.io/team': login }), 'https://quay.io'],
  ['a key with the other scheme', dockerConfig({ 'http://quay.io': login }), 'https://quay.io'],
  ['another case', dockerConfig({ 'QUAY.io': login }), 'https://quay.io'],
  ['the same port, said and not', dockerConfig({ 'quay.io:443': login }), 'https://quay.io'],
  ['a port', dockerConfig({ 'quay.io:8443': login }), 'https://quay.io:8443'],
  [
    'what docker login writes',
    dockerConfig({ 'https://index.docker.io/v1/': { auth } }),
    'https://registry-1.docker.io',
  ],
  ['docker.io', dockerConfig({ 'docker.io': login }), 'https://registry-1.docker.io'],
  ['the right one of two', dockerConfig({ 'ghcr.io': other, 'quay.io': login }), 'https://quay.io'],
  [
    'the very name first',
    dockerConfig({ 'docker.io': other, 'index.docker.io': login }),
    'https://index.docker.io',
  ],
  ['the one without a path', dockerConfig({ 'quay.io/team': other, 'quay.io': login }), 'https://quay.io'],
  ['two entries of one account', dockerConfig({ 'quay.io/a': login, 'quay.io/b': login }), 'https://quay.io'],
  ['auth before username', dockerConfig({ 'quay.io': { ...other, auth } }), 'https://quay.io'],
  [
    'auth padded with NULs',
    dockerConfig({ a: { auth: Buffer.from(`me:${canary}\0\0`).toString('base64') } }),
    'https://a',
  ],
  ['basic-auth for its host', basicAuth(login, host('Quay.io')), 'https://quay.io'],
  ['basic-auth for its host and port', basicAuth(login, host('quay.io:8443')), 'https://quay.io:8443'],
  ['http to loopback', basicAuth(login, host('127.0.0.1:5000')), 'http://127.0.0.1:5000'],
  [
    'http where the Secret allows it',
    basicAuth(login, { ...host('registry:5000'), 'headwater.dev/allow-plain-http': 'true' }),
    'http://registry:5000',
  ],
])('takes %s', (_, from, url) => {
  expect(choose(from, url)).toEqual({ credentials: login })
})

it.each<[string, Secret | undefined, string, string, string]>([
  ['no Secret', undefined, 'https://quay.io', 'RefNotFound', 'there is no Secret login in this namespace'],
  [
    'another type',
    secret({ type: 'Opaque', stringData: login }),
    'https://quay.io',
    'SecretTypeNotSupported',
    'Secret login has another type than kubernetes.io/dockerconfigjson and kubernetes.io/basic-auth',
  ],
  [
    'a Secret for another host',
    dockerConfig({ 'quay.io': login }),
    'https://evil.example',
    'HostNotPermitted',
    '.dockerconfigjson of Secret login has no entry for evil.example',
  ],
  [
    'a host that only begins the same',
    dockerConfig({ 'quay.io': login }),
    'https://quay.io.evil.example',
    'HostNotPermitted',
    '.dockerconfigjson of Secret login has no entry for quay.io.evil.example',
  ],
  [
    'another port',
    dockerConfig({ 'quay.io': login }),
    'https://quay.io:8443',
    'HostNotPermitted',
    '.dockerconfigjson of Secret login has no entry for quay.io:8443',
  ],
  [
    'a key with user info',
    dockerConfig({ 'quay.io@evil.example': login }),
    'https://evil.example',
    'HostNotPermitted',
    '.dockerconfigjson of Secret login has no entry for evil.example',
  ],
  [
    'a wildcard',
    dockerConfig({ '*.example.com': login }),
    'https://a.example.com',
    'HostNotPermitted',
    '.dockerconfigjson of Secret login has no entry for a.example.com',
  ],
  [
    'basic-auth without a host',
    basicAuth(login),
    'https://quay.io',
    'HostNotPermitted',
    'Secret login names no host; to send it to quay.io, annotate it with headwater.dev/registry-host: quay.io',
  ],
  [
    'basic-auth for another host',
    basicAuth(login, host('ghcr.io')),
    'https://quay.io',
    'HostNotPermitted',
    'Secret login names another host; to send it to quay.io, annotate it with headwater.dev/registry-host: quay.io',
  ],
  [
    'basic-auth for the host without its port',
    basicAuth(login, host('quay.io')),
    'https://quay.io:8443',
    'HostNotPermitted',
    'Secret login names another host; to send it to quay.io:8443, annotate it with headwater.dev/registry-host: quay.io:8443',
  ],
  [
    'http to another machine',
    basicAuth(login, host('registry:5000')),
    'http://registry:5000',
    'PlainHttpNotPermitted',
    'credentials would go over http:// in plain text; use https://, or annotate Secret login with headwater.dev/allow-plain-http: "true"',
  ],
  [
    'two accounts for one host',
    dockerConfig({ 'quay.io/a': login, 'quay.io/b': other }),
    'https://quay.io',
    'CredentialsAmbiguous',
    '.dockerconfigjson of Secret login has several accounts for quay.io; keep one',
  ],
  [
    'a user name alone',
    basicAuth({ username: canary }, host('quay.io')),
    'https://quay.io',
    'CredentialsInvalid',
    'Secret login needs both username and password',
  ],
  [
    'an entry with a token only',
    dockerConfig({ 'quay.io': { identitytoken: canary } }),
    'https://quay.io',
    'CredentialsInvalid',
    '.dockerconfigjson of Secret login has neither "auth" nor "username" and "password" for quay.io',
  ],
  [
    'auth without a colon',
    dockerConfig({ 'quay.io': { auth: Buffer.from(canary).toString('base64') } }),
    'https://quay.io',
    'CredentialsInvalid',
    '.dockerconfigjson of Secret login has neither "auth" nor "username" and "password" for quay.io',
  ],
  [
    'no JSON',
    secret({ type: 'kubernetes.io/dockerconfigjson', stringData: { '.dockerconfigjson': canary } }),
    'https://quay.io',
    'CredentialsInvalid',
    '.dockerconfigjson of Secret login is no JSON object with "auths"',
  ],
  [
    'no key',
    secret({ type: 'kubernetes.io/dockerconfigjson' }),
    'https://quay.io',
    'CredentialsInvalid',
    'Secret login has no key .dockerconfigjson',
  ],
  [
    'a line break at the end',
    basicAuth({ ...login, password: `${canary}\n` }, host('quay.io')),
    'https://quay.io',
    'CredentialsInvalid',
    'the password in Secret login has a line break at its end',
  ],
  [
    'a header in the password',
    basicAuth({ ...login, password: `${canary}\r\nX: y` }, host('quay.io')),
    'https://quay.io',
    'CredentialsInvalid',
    'the password in Secret login has control characters in it',
  ],
  [
    'a password in another encoding than UTF-8',
    secret({
      type: 'kubernetes.io/basic-auth',
      metadata: { name: 'login', namespace: 'default', annotations: host('quay.io') },
      data: { username: btoa('me'), password: btoa(`${canary}ä`) },
    }),
    'https://quay.io',
    'CredentialsInvalid',
    'the password in Secret login is no UTF-8, or has a byte order mark',
  ],
  [
    'an account with very many NULs in it, which no time is spent on',
    dockerConfig(
      Object.fromEntries(
        ['a', 'b', 'c'].map((path) => [
          `quay.io/${path}`,
          { auth: Buffer.from(`me:${'\0'.repeat(140_000)}x`).toString('base64') },
        ]),
      ),
    ),
    'https://quay.io',
    'CredentialsInvalid',
    'the password in Secret login is too long',
  ],
  [
    'a byte order mark',
    basicAuth({ ...login, password: `\uFEFF${canary}` }, host('quay.io')),
    'https://quay.io',
    'CredentialsInvalid',
    'the password in Secret login is no UTF-8, or has a byte order mark',
  ],
  [
    'an empty password',
    basicAuth({ ...login, password: '' }, host('quay.io')),
    'https://quay.io',
    'CredentialsInvalid',
    'the password in Secret login is empty',
  ],
  [
    'a colon in the user name',
    basicAuth({ ...login, username: `${canary}:x` }, host('quay.io')),
    'https://quay.io',
    'CredentialsInvalid',
    'the username in Secret login has a colon in it',
  ],
])('K12: refuses %s', (_, from, url, reason, message) => {
  const { credentials, finding } = choose(from, url)
  expect(credentials).toBeUndefined()
  expect(finding).toMatchObject({ reason, message })
  expect(JSON.stringify(finding)).not.toContain(canary)
})
