import { isDigest } from '../../proxy/oci/digest.ts'
import type { CertificateAuthority } from './certificates.ts'
import { emptyReply, refuse, repositoryOf, sendBlob } from './distribution-api.ts'
import { createFakeUpstream, type FakeUpstream, fault } from './fake-upstream.ts'
import { type Fault, type SeenRequest, setBody } from './fault.ts'
import type { Reply } from './reply.ts'

/**
 * What the five registries of the example configuration were seen to answer by those who wrote it down, played on
 * loopback: the challenge, where the token comes from, what is said of a repository that is not there, where blobs are.
 * None of it was tried live. Hosts become loopback addresses: what is another host there is another address here.
 */
export type RealRegistry = keyof typeof registries

interface Traits {
  /** Where it was read. */
  readonly sources: readonly string[]
  /** Undefined: no challenge. `other-host` as Docker Hub has its `auth.docker.io`. */
  readonly token:
    | { readonly on: 'own-host' | 'other-host'; readonly path: string; readonly service: string }
    | undefined
  /** The token service's answer to who may not pull; a token without access where unset. */
  readonly exchangeRefusal?: { readonly status: number; readonly of: 'anonymous' | 'everybody' }
  /** False: nothing is public. */
  readonly anonymous: boolean
  readonly blobs: {
    readonly status: 302 | 307
    readonly path: (digest: string) => string
    /** The CDN answers 403 to HEAD. */
    readonly headRefused?: boolean
  }
  readonly manifestHeaders?: Readonly<Record<string, string | undefined>>
  readonly referrersApi: boolean
  /** The `Link` of tag lists is a token instead of `last`. */
  readonly opaquePages?: boolean
}

const registries = {
  'docker-hub': {
    sources: [
      'https://github.com/jupyterhub/binderhub/issues/993', // the challenge and the token's answer
      'https://docs.docker.com/docker-hub/usage/pulls/', // ratelimit headers on GET and HEAD, HEAD is not counted
      'https://github.com/opencontainers/distribution-spec/issues/299', // 307 to production.cloudflare.docker.com
      'https://docs.docker.com/docker-hub/release-notes/#2026-05-20', // a second CDN, with signed URLs
      'https://github.com/distribution/distribution/issues/1203', // 401 again with a token that lacks the access
    ],
    token: { on: 'other-host', path: '/token', service: 'registry.docker.io' },
    anonymous: true,
    blobs: {
      status: 307,
      path: (digest) => `/registry-v2/docker/registry/v2/blobs/${digest}/data?verify=1-signature`,
    },
    manifestHeaders: {
      'ratelimit-limit': '100;w=21600',
      'ratelimit-remaining': '76;w=21600',
      'docker-ratelimit-source': '192.0.2.7',
    },
    referrersApi: false,
  },
  'dhi.io': {
    // its own token endpoint for Docker Hub's service, and an error in the challenge; nothing without a login
    sources: ['https://github.com/docker/hub-feedback/issues/2530', 'https://docs.docker.com/dhi/'],
    token: { on: 'own-host', path: '/token', service: 'registry.docker.io' },
    exchangeRefusal: { status: 401, of: 'anonymous' },
    anonymous: false,
    blobs: {
      status: 307,
      path: (digest) => `/registry-v2/docker/registry/v2/blobs/${digest}/data?verify=1-signature`,
    },
    referrersApi: true,
  },
  quay: {
    sources: [
      'https://www.exe.dev/docs/integrations-oci-registries', // the realm's path, GET only
      'https://github.com/quay/quay-docs/issues/149', // blobs are on cdn0x.quay.io
      'https://github.com/deitch/docker_registry2/issues/56', // next_page in Link
    ],
    token: { on: 'own-host', path: '/v2/auth', service: 'quay.io' },
    anonymous: true,
    blobs: { status: 302, path: (digest) => `/quayio-production-s3/sha256/${digest}?X-Amz-Signature=0abc` },
    manifestHeaders: { etag: undefined },
    referrersApi: true,
    opaquePages: true,
  },
  mcr: {
    sources: [
      'https://github.com/microsoft/containerregistry/issues/66', // HEAD with digest and no login
      'https://github.com/microsoft/containerregistry/blob/main/docs/mcr-endpoints-guidance.md', // the data endpoint
      'https://github.com/microsoft/containerregistry/issues/52', // how its URLs look
    ],
    token: undefined,
    anonymous: true,
    blobs: { status: 307, path: (digest) => `/mcrprod/image?P1=1&P2=1&P3=1&P4=signature&d=${digest}` },
    referrersApi: true,
  },
  ghcr: {
    sources: [
      'https://github.com/devcontainers/cli/pull/341', // the challenge; anonymous pulls exchange too
      'https://github.com/argoproj-labs/argocd-image-updater/issues/303', // DENIED for what may not be seen
      'https://github.com/containerd/stargz-snapshotter/pull/167', // 307, URLs expire, their host refuses HEAD
      'https://github.com/scarf-sh/gateway/pull/35', // pkg-containers.githubusercontent.com
    ],
    token: { on: 'own-host', path: '/token', service: 'ghcr.io' },
    exchangeRefusal: { status: 403, of: 'everybody' },
    anonymous: true,
    blobs: {
      status: 307,
      path: (digest) => `/ghcr1/blobs/${digest}?se=2026-11-22T00%3A00%3A00Z&sig=abc`,
      headRefused: true,
    },
    referrersApi: false,
  },
} as const satisfies Record<string, Traits>

export const realRegistries = Object.keys(registries) as readonly RealRegistry[]

export interface Double {
  /** Content goes here; it is what an Upstream's URL names. */
  readonly registry: FakeUpstream
  /** Where blobs are redirected to. Refuses a request that has a signature and an Authorization. */
  readonly cdn: FakeUpstream
  /** The token service, where it is another host. */
  readonly tokens: FakeUpstream | undefined
  /** For `tokenServiceHosts`. */
  readonly tokenServiceHosts: readonly string[]
  readonly sources: readonly string[]
  close(): Promise<void>
}

export async function createDouble(
  name: RealRegistry,
  {
    login,
    isPublic,
    authority,
  }: {
    login?: { username: string; password: string }
    isPublic?: (repository: string) => boolean
    /** With TLS, as they are; a token service on another host is only asked over https. */
    authority?: CertificateAuthority
  } = {},
): Promise<Double> {
  const traits: Traits = registries[name]
  const server = async (host: string, referrersApi = true): Promise<FakeUpstream> => {
    const tls = await authority?.issue({ hosts: [host] })
    return createFakeUpstream({ host, referrersApi, ...(tls && { tls }) })
  }
  const registry = await server('127.0.0.1', traits.referrersApi)
  const cdn = await server('127.0.0.3')
  const tokens = traits.token?.on === 'other-host' ? await server('127.0.0.2') : undefined

  if (traits.token) {
    const { path, service } = traits.token
    const mayPull = (account: string | undefined, repository: string): boolean =>
      registry.content.repository(repository) !== undefined &&
      (account !== undefined || (traits.anonymous && (isPublic?.(repository) ?? true)))
    const realm = `${(tokens ?? registry).url}${path}`
    Object.assign(registry.auth, { kind: 'token', service, realm, ...login, allows: mayPull })
    const exchange = (request: SeenRequest): Reply => {
      if (request.method !== 'GET') return refuse(emptyReply(), 405, 'UNSUPPORTED')
      const [, repository = ''] = /^repository:(.+):pull$/.exec(request.query.get('scope') ?? '') ?? []
      const account = request.headers.authorization === undefined ? undefined : login?.username
      const refusal = traits.exchangeRefusal
      const refuses = refusal?.of === 'everybody' || account === undefined
      if (refusal && refuses && repository !== '' && !mayPull(account, repository)) {
        return refuse(emptyReply(), refusal.status, 'DENIED')
      }
      return registry.answerToken(request)
    }
    ;(tokens ?? registry).route(path, exchange)
  }

  registry.habit('*', /\/manifests\//, fault.headers(traits.manifestHeaders ?? {}))
  registry.habit('*', /\/blobs\//, redirectToCdn(traits, cdn))
  if (traits.opaquePages) registry.habit('GET', /\/tags\/list$/, opaquePages(registry))
  cdn.route(/./, (request) => serveFromCdn(request, registry, traits))

  return {
    registry,
    cdn,
    tokens,
    tokenServiceHosts: tokens ? [tokens.host] : [],
    sources: traits.sources,
    async close() {
      await Promise.all([registry.close(), cdn.close(), tokens?.close()])
    },
  }
}

/** Blobs that are there are elsewhere; what is not there is still said here. */
function redirectToCdn({ blobs }: Traits, cdn: FakeUpstream): Fault {
  return async (reply, request) => {
    if (reply.status !== 200 && reply.status !== 206) return
    const location = new URL(blobs.path(request.path.split('/').at(-1)!), cdn.url)
    location.searchParams.set('of', repositoryOf(request.path) ?? '')
    await fault.redirect(location.href, blobs.status)(reply, request)
  }
}

function serveFromCdn(request: SeenRequest, registry: FakeUpstream, { blobs }: Traits): Reply {
  const reply = emptyReply()
  if (request.headers.authorization !== undefined) return refuse(reply, 400, 'InvalidArgument')
  if (request.method === 'HEAD' && blobs.headRefused) return refuse(reply, 403, 'AuthenticationFailed')
  const digest = decodeURIComponent(request.url).match(/sha(?:256|512):[a-f0-9]+/)?.[0]
  const repository = registry.content.repository(request.query.get('of') ?? '')
  const blob = isDigest(digest) ? repository?.blobs.get(digest) : undefined
  return blob ? sendBlob(reply, request, undefined, blob) : refuse(reply, 404, 'NoSuchKey')
}

/** Quay's pages: the place in the list is a token only Quay can read. */
function opaquePages(registry: FakeUpstream): Fault {
  return (reply, { path, query }) => {
    const name = repositoryOf(path) ?? ''
    const known = query.get('next_page')
    const after = known === null ? '' : Buffer.from(known, 'base64url').toString()
    const pageSize = Number(query.get('n') ?? 50)
    const all = [...(registry.content.repository(name)?.tags.keys() ?? [])].sort()
    const rest = all.filter((tag) => tag > after)
    const tags = rest.slice(0, pageSize)
    setBody(reply, JSON.stringify({ name, tags }))
    const next = Buffer.from(tags.at(-1) ?? '').toString('base64url')
    const more = tags.length > 0 && tags.length < rest.length
    reply.headers.link = more ? `<${path}?next_page=${next}&n=${pageSize}>; rel="next"` : undefined
  }
}
