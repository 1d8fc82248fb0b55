import { OciError } from '../oci/errors.ts'
import { formatReference, isName, parseEndpoint } from '../oci/reference.ts'
import type { ListAnswer, ManifestAnswer, Pull, PullRequest } from '../pull/pull.ts'
import type { RouteTable } from '../route-table.ts'
import { type Answer, send, sendBytes, shared } from './answer.ts'
import { sendBlob } from './blob.ts'
import type { Buffers } from './buffers.ts'
import { etagOf, isNotModified } from './conditional.ts'
import type { Exchange } from './exchange.ts'
import type { HotAnswers } from './hot.ts'
import { namespaceOf, parseTarget } from './target.ts'
import type { Untaken } from './untaken.ts'

export interface Serving {
  readonly pull: Pull
  readonly table: () => RouteTable
  readonly hot: HotAnswers
  readonly buffers: Buffers
  readonly lists: Untaken
}

/** Parses, authorises on what was parsed, pulls and answers. Throws OciError while nothing was sent yet. */
export async function serve(exchange: Exchange, serving: Serving): Promise<void> {
  const { request, method, response } = exchange
  const target = parseTarget(request.url ?? '', request.headers.host)
  const endpoint = parseEndpoint(target.path)
  exchange.kind = endpoint.kind
  if (endpoint.kind === 'version') return send(response, versionAnswer(method))

  exchange.repository = endpoint.name.repository
  exchange.reference = referenceOf(endpoint)
  const routes = serving.table()
  const { registry, repository } = routes.find(endpoint.name, target.host)
  // what may not be pulled is told apart from what does not exist by nothing
  if (!registry.mayPullAnonymously(repository)) throw new OciError('NAME_UNKNOWN')
  exchange.routes = routes
  exchange.registry = registry
  exchange.repository = repository
  if (!isName(repository)) throw new OciError('NAME_INVALID')

  const query = new URLSearchParams(target.query)
  exchange.ns = namespaceOf(query)
  const wanted: PullRequest = { registry, repository, ns: exchange.ns, method, story: exchange.story }
  switch (endpoint.kind) {
    case 'manifest': {
      const { reference } = endpoint
      const answer = await serving.pull.manifest({ ...wanted, reference })
      return sendManifest(exchange, answer, serving.hot)
    }
    case 'blob':
      return await sendBlob(exchange, { ...wanted, digest: endpoint.digest }, serving)
    case 'tags':
      return sendList(
        exchange,
        target.path,
        await serving.pull.tags({ ...wanted, query, name: endpoint.name.repository }),
        serving.lists,
      )
    case 'referrers':
      return sendList(
        exchange,
        target.path,
        await serving.pull.referrers({ ...wanted, query, subject: endpoint.subject }),
        serving.lists,
      )
  }
}

function referenceOf(endpoint: Exclude<ReturnType<typeof parseEndpoint>, { kind: 'version' }>) {
  switch (endpoint.kind) {
    case 'manifest':
      return formatReference(endpoint.reference)
    case 'blob':
      return endpoint.digest
    case 'referrers':
      return endpoint.subject
    case 'tags':
      return undefined
  }
}

function versionAnswer(method: string): Answer {
  const headers = ['Content-Type', 'application/json', 'Content-Length', '2']
  headers.push('Docker-Distribution-API-Version', 'registry/2.0')
  return { status: 200, headers, body: method === 'HEAD' ? undefined : Buffer.from('{}') }
}

function sendManifest(exchange: Exchange, answer: ManifestAnswer, hot: HotAnswers): void {
  const { digest, mediaType, size, bytes, warning, lease } = answer
  const known = ['Docker-Content-Digest', digest, 'ETag', etagOf(digest), ...shared(exchange, warning)]
  if (isNotModified(exchange.request.headers['if-none-match'], digest)) {
    send(exchange.response, { status: 304, headers: known, body: undefined })
    return
  }
  const body = exchange.method === 'HEAD' ? undefined : bytes
  const headers = ['Content-Type', mediaType, 'Content-Length', String(size), ...known]
  const whole = { status: 200, headers, body }
  sendBytes(exchange, whole)
  if (lease !== undefined) hot.remember(exchange, whole, lease)
}

function sendList(exchange: Exchange, path: string, answer: ListAnswer, lists: Untaken): void {
  const { mediaType, next, filtersApplied, warning } = answer
  const body = exchange.method === 'HEAD' ? undefined : answer.body
  if (body !== undefined && !lists.add(exchange.response, body.length))
    throw new OciError('TOOMANYREQUESTS', { retryAfterSeconds: 1 })
  const headers = [
    'Content-Type',
    mediaType,
    'Content-Length',
    String(answer.body.length),
    ...shared(exchange, warning),
  ]
  if (next !== undefined) headers.push('Link', `<${path}?${next}>; rel="next"`)
  if (filtersApplied !== undefined) headers.push('OCI-Filters-Applied', filtersApplied)
  sendBytes(exchange, { status: 200, headers, body })
}
