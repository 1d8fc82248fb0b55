import { setTimeout as sleep } from 'node:timers/promises'
import { fault } from '../../rig/fake-upstream.ts'
import { type Fault, setBody } from '../../rig/fault.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage } from '../../rig/images.ts'
import { sourceBytes } from '../../rig/source.ts'
import type { Stage, StageOptions } from './scene.ts'

/** A fault of an upstream and what clients see of it, as `upstream-rows.test.ts` runs them all. */
export interface UpstreamRow {
  readonly title: string
  readonly options?: StageOptions
  readonly begin: (stage: Stage) => unknown
  /** A tag that is cached and stale: given as it is with a warning, found unchanged, or found to be another. */
  readonly stale: 'stale-served' | 'confirmed' | 'moved'
  /** A tag that is not cached: found, the lower upstream's, or an error with this status. */
  readonly cold: 'found' | 'substitute' | number
  /** A blob that is not cached: found, an error with this status, or `refused`: cut or 502, as the bytes came. */
  readonly blob: 'found' | 'refused' | number
  readonly requestsAtMost?: number
  /** Beyond healing the upstream. */
  readonly end?: (stage: Stage) => unknown
  /** How long the upstream asked to be left alone after that. */
  readonly patienceMs?: number
}

const manifests = /\/manifests\//
const blobs = /\/blobs\//
const all = /^\/v2\//
const refuses = { stale: 'stale-served', cold: 502, blob: 502 } as const
const isDown = { stale: 'stale-served', cold: 503, blob: 503 } as const
const isWell = { stale: 'confirmed', cold: 'found', blob: 'found' } as const
const saysNo = { stale: 'stale-served', cold: 'substitute', blob: 404 } as const

const always =
  (method: string, path: RegExp, one: Fault) =>
  ({ upstream }: Stage) =>
    upstream.always(method, path, one)

function tokenLogin(name: string): StageOptions {
  const login = { username: 'puller', password: `canary-${name}` }
  return { upstream: { auth: { kind: 'token', ...login } }, resource: login }
}

function basicLogin(name: string): StageOptions {
  const login = { username: 'puller', password: `canary-${name}` }
  return { upstream: { auth: { kind: 'basic', ...login } }, resource: login }
}

/** The tag that is cached is another image now. */
const moveTag = ({ upstream }: Stage) =>
  pushImage(contentStore(upstream.content), 'app', { tag: 'v1', seed: 9 })

const expiresIn =
  (value: unknown): Fault =>
  (reply) => {
    const body = JSON.parse(sourceBytes(reply.body).toString()) as object
    setBody(reply, JSON.stringify({ ...body, expires_in: value }))
  }

const rows: UpstreamRow[] = [
  { title: 'U1: refuses connections', begin: ({ upstream }) => upstream.stop(), ...isDown },
  { title: 'U1: resets every connection', begin: always('*', all, fault.reset()), ...isDown },
  ...[500, 502, 503, 504].map((status) => ({
    ...{
      title: `U4: answers ${status} to the HEAD of a revalidation`,
      ...isWell,
      stale: 'stale-served' as const,
    },
    begin: always('HEAD', manifests, fault.status(status)),
  })),
  {
    title: 'U5: answers 500 to the GET of a manifest, HEAD good',
    async begin(stage) {
      await moveTag(stage)
      always('GET', manifests, fault.status(500))(stage)
    },
    ...{ stale: 'stale-served', cold: 503, blob: 'found' },
  },
  {
    title: 'U6: answers 500 once to everything, then well',
    begin({ upstream }) {
      for (const [method, path] of [
        ['HEAD', manifests],
        ['GET', manifests],
        ['GET', blobs],
      ] as const)
        upstream.next(method, path, fault.status(500))
    },
    ...isWell,
  },
  ...(
    [
      ['404, and GET well', fault.status(404)],
      ['405', fault.status(405)],
      ['501', fault.status(501)],
      ['no digest', fault.digestHeader(undefined)],
      ['a digest of another algorithm', fault.digestHeader('md5:d41d8cd98f00b204e9800998ecf8427e')],
    ] as const
  ).map(([what, one]) => ({
    title: `U7: answers HEAD with ${what}`,
    async begin(stage: Stage) {
      await moveTag(stage)
      always('HEAD', manifests, one)(stage)
    },
    ...{ ...isWell, stale: 'moved' as const },
  })),
  {
    title: 'U10: ends blobs before their length',
    begin: always('GET', blobs, fault.cut(5_000)),
    ...isWell,
    blob: 'refused',
  },
  {
    title: 'U11: resets blobs before their length',
    begin: always('GET', blobs, fault.cut(5_000, 'rst')),
    ...isWell,
    blob: 'refused',
  },
  {
    title: 'U12: ends chunks without the last',
    begin: always('GET', blobs, fault.all(fault.ignoreRange(), fault.chunked(), fault.cut(5_000))),
    ...{ ...isWell, blob: 'refused' },
  },
  { title: 'U12: ends a blob by closing', begin: always('GET', blobs, fault.withoutLength()), ...isWell },
  { title: 'U12: answers blobs by HTTP/1.0', begin: always('GET', blobs, fault.http10()), ...isWell },
  ...[0, 150_000, -1].map((at) => ({
    ...{ title: `U15: turns byte ${at} of blobs`, ...isWell, blob: 'refused' as const },
    begin: always('GET', blobs, fault.corrupt(at)),
  })),
  {
    title: 'U15: turns a byte of manifests',
    begin: always('GET', manifests, fault.corrupt(0)),
    ...isWell,
    cold: 502,
  },
  {
    title: 'U17: lies about digests',
    begin: always('GET', all, fault.digestHeader(`sha256:${'0'.repeat(64)}`)),
    ...isWell,
  },
  {
    title: 'U18: sends manifests without end',
    begin: always('GET', manifests, fault.endless('application/vnd.oci.image.manifest.v1+json')),
    ...{ ...isWell, cold: 502 },
  },
  {
    title: 'U18: sends tokens without end',
    options: tokenLogin('u18'),
    begin({ upstream }) {
      upstream.revokeTokens()
      upstream.always('*', '/token', fault.endless('application/json'))
    },
    ...refuses,
  },
  {
    title: 'U19: compresses although identity was asked for',
    begin: always('GET', all, fault.gzip()),
    ...isWell,
    cold: 502,
    blob: 502,
  },
  {
    title: 'U19: says that it compressed a thousand times',
    begin: always('GET', all, fault.gzip(Array.from({ length: 1000 }, () => 'gzip').join(','))),
    ...{ ...isWell, cold: 502, blob: 502 },
  },
  {
    title: 'U20: answers with a captive portal',
    begin: always('*', all, fault.body('<html>', 'text/html')),
    ...refuses,
  },
  {
    title: 'U20: sends manifests without a type',
    begin: always('GET', manifests, fault.headers({ 'content-type': undefined })),
    ...{ ...isWell, cold: 502 },
  },
  {
    title: 'U21: sends empty manifests',
    begin: always('GET', manifests, fault.body('')),
    ...isWell,
    cold: 502,
  },
  {
    title: 'U22: answers 401 again with a good token',
    options: tokenLogin('u22'),
    begin: always('*', all, fault.status(401)),
    ...saysNo,
  },
  {
    title: 'U23, U25: has other credentials now, by token',
    options: tokenLogin('u23'),
    begin({ upstream }) {
      upstream.auth.password = 'canary-another'
      upstream.revokeTokens()
    },
    ...isDown,
  },
  {
    title: 'U23, U25: has other credentials now, by Basic',
    options: basicLogin('u23b'),
    begin: ({ upstream }) => Object.assign(upstream.auth, { password: 'canary-another' }),
    ...isDown,
  },
  {
    title: 'U24: refuses tokens early',
    options: tokenLogin('u24'),
    begin: ({ upstream }) => upstream.revokeTokens(),
    ...isWell,
  },
  ...[undefined, 0, -5, 1e12, 'soon'].map((value, number) => ({
    ...{
      title: `U24: says that tokens live ${String(value)} seconds`,
      options: tokenLogin(`u24-${number}`),
      ...isWell,
    },
    begin({ upstream }: Stage) {
      upstream.revokeTokens()
      upstream.always('*', '/token', expiresIn(value))
    },
  })),
  { title: 'U26: answers 403', begin: always('*', all, fault.status(403)), ...saysNo },
  { title: 'U27, U28: answers 404', begin: always('*', all, fault.status(404)), ...saysNo },
  {
    title: 'U28: has lost a tag',
    begin: ({ upstream }) => upstream.content.untag('app', 'v1'),
    end: ({ upstream, cached }) => upstream.content.tag('app', 'v1', cached.manifest.digest),
    ...isWell,
    stale: 'stale-served',
  },
  ...['1', '0', 'soon', undefined].map((value) => ({
    ...{
      title: `U29: answers 429 with Retry-After ${value}`,
      stale: 'stale-served' as const,
      cold: 429,
      blob: 429,
    },
    begin: always('*', all, fault.tooManyRequests(value)),
    ...((value === '0' || value === '1') && { patienceMs: 1_100 }),
  })),
  {
    title: 'U29: answers 429 with a date',
    begin: ({ upstream }) =>
      upstream.always('*', all, fault.tooManyRequests(new Date(Date.now() + 3_000).toUTCString())),
    ...{ stale: 'stale-served', cold: 429, blob: 429, patienceMs: 3_500 },
  },
  {
    title: 'U30: says that nothing is left of its limit',
    begin: always('*', all, fault.headers({ 'ratelimit-remaining': '0;w=21600' })),
    ...isWell,
  },
  {
    title: 'U32: redirects to itself',
    begin: always(
      '*',
      all,
      fault.redirect(({ url }) => url),
    ),
    ...refuses,
  },
  {
    title: 'U32: redirects ever further',
    begin: always(
      '*',
      all,
      fault.redirect(({ url }) => `${url}${url.includes('?') ? '' : '?'}x`),
    ),
    ...refuses,
  },
  ...(
    [
      ['to a metadata service', 'http://169.254.169.254/latest', 503],
      ['to a file', 'file:///etc/passwd', 502],
      ['to nowhere', undefined, 502],
      ['with a password', 'http://u:canary-location@127.0.0.1:1/', 502],
      ['to a huge address', `/${'x'.repeat(20_000)}`, 502],
    ] as const
  ).map(([what, location, status]) => ({
    ...{ title: `U33: redirects ${what}`, stale: 'stale-served' as const, cold: status, blob: status },
    begin: always(
      '*',
      all,
      fault.redirect(() => location),
    ),
  })),
  {
    title: 'U33: redirects to two places',
    begin: always('*', all, fault.all(fault.redirect('/a'), fault.headers({ location: ['/a', '/b'] }))),
    ...refuses,
  },
  {
    title: 'U35: answers 206 to who asked for all',
    begin: always('GET', all, fault.partial('bytes 0-9/10')),
    ...isWell,
    cold: 502,
    blob: 502,
  },
  {
    title: 'U35: answers 416 to who asked for all',
    begin: always('GET', blobs, fault.status(416)),
    ...isWell,
    blob: 404,
  },
  ...(
    [
      ['a flood of 103', 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(2000)],
      ['101', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n'],
      ['204', 'HTTP/1.1 204 No Content\r\n\r\n'],
      ['205', 'HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n'],
      ['302 without Location', 'HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n'],
      ['600', 'HTTP/1.1 600 What\r\nContent-Length: 0\r\n\r\n'],
      ['HTTP/0.9', '<html>hello</html>\r\n'],
      ['garbage', '\u0000\u0001\u0002garbage\r\n\r\n'],
      ['an HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ] as const
  ).map(([what, raw]) => ({
    title: `U37: answers ${what}`,
    begin: always('*', all, fault.raw(raw)),
    ...refuses,
  })),
  {
    title: 'U40: closes kept connections at once',
    options: { upstream: { keepAliveMs: 1 } },
    begin: () => sleep(1_100),
    ...isWell,
  },
  {
    title: 'U44: sends schema 1',
    begin: always(
      '*',
      manifests,
      fault.headers({ 'content-type': 'application/vnd.docker.distribution.manifest.v1+prettyjws' }),
    ),
    ...{ stale: 'stale-served', cold: 502, blob: 'found' },
  },
  {
    title: 'U44: sends an unknown media type',
    begin: always(
      '*',
      manifests,
      fault.headers({ 'content-type': 'application/vnd.example.manifest.v9+json' }),
    ),
    ...{ stale: 'stale-served', cold: 502, blob: 'found' },
  },
]

export const upstreamRows: readonly (UpstreamRow & { readonly name: string })[] = rows.map((row, number) => ({
  ...row,
  name: `r${number}`,
}))
