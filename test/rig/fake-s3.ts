import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

export type S3Operation =
  | 'GetObject'
  | 'HeadObject'
  | 'PutObject'
  | 'DeleteObject'
  | 'DeleteObjects'
  | 'ListObjects'
  | 'HeadBucket'
  | 'CreateUpload'
  | 'UploadPart'
  | 'CompleteUpload'
  | 'AbortUpload'
  | 'ListUploads'
  | 'ListParts'

export type S3Fault =
  | {
      readonly kind: 'error'
      readonly status: number
      readonly code: string
      readonly headers?: Record<string, string>
    }
  /** Status 200, and then an error in its body. The operation is not done. */
  | { readonly kind: 'error-in-200'; readonly code: string }
  /** Of a deletion of many: what it says of this one, which it leaves. */
  | { readonly kind: 'error-for-key'; readonly key: string; readonly code: string }
  /** RST, before the operation is done or after. */
  | { readonly kind: 'reset'; readonly when: 'before' | 'after' }
  | { readonly kind: 'hang' }
  | { readonly kind: 'slow'; readonly ms: number }
  /** A body that ends in RST, or in silence, after so many bytes, where it has more. */
  | { readonly kind: 'cut' | 'stall'; readonly bytes: number }
  /** All of it with status 200, whatever range was asked for. */
  | { readonly kind: 'no-range' }

/** One bucket in memory that fails as the test wants. It takes every signature, as long as there is one. */
export interface FakeS3 {
  readonly endpoint: string
  readonly objects: ReadonlyMap<string, Buffer>
  readonly uploads: ReadonlyMap<string, unknown>
  /** Every request so far, as `GetObject blobs/…`. */
  readonly requests: readonly string[]
  openSockets(): number
  /** Connections since the start. */
  accepted(): number
  put(key: string, bytes: Buffer): void
  remove(key: string): void
  /** The next so many of these operations. */
  next(operation: S3Operation, fault: S3Fault, times?: number): void
  always(operations: readonly S3Operation[] | 'all', fault: S3Fault): void
  lift(): void
  close(): Promise<void>
}

interface StoredUpload {
  readonly key: string
  readonly startedAt: Date
  readonly parts: Map<number, Buffer>
}

const mebi = 1024 * 1024

export async function createFakeS3(): Promise<FakeS3> {
  const objects = new Map<string, Buffer>()
  const uploads = new Map<string, StoredUpload>()
  const requests: string[] = []
  const queued: { operation: S3Operation; fault: S3Fault }[] = []
  const sockets = new Set<Socket>()
  let standing: { operations: readonly S3Operation[] | 'all'; fault: S3Fault } | undefined
  let ids = 0
  let accepted = 0

  function faultOf(operation: S3Operation): S3Fault | undefined {
    const at = queued.findIndex((one) => one.operation === operation)
    if (at >= 0) return queued.splice(at, 1)[0]?.fault
    if (!standing) return undefined
    return standing.operations === 'all' || standing.operations.includes(operation)
      ? standing.fault
      : undefined
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', 'http://fake')
    const [, , ...path] = url.pathname.split('/')
    const key = decodeURIComponent(path.join('/'))
    const operation = operationOf(request.method ?? '', key, url.searchParams)
    requests.push(`${operation} ${key}`)
    const body = await readBody(request)
    if (!request.headers.authorization?.startsWith('AWS4-HMAC-SHA256 ')) {
      return fail(response, 403, 'AccessDenied')
    }
    const fault = faultOf(operation)
    if (fault?.kind === 'hang') return
    if (fault?.kind === 'reset' && fault.when === 'before') return void request.socket.resetAndDestroy()
    if (fault?.kind === 'error') return fail(response, fault.status, fault.code, fault.headers)
    if (fault?.kind === 'error-in-200') {
      return void response.writeHead(200, { 'content-type': 'application/xml' }).end(errorXml(fault.code))
    }
    if (fault?.kind === 'slow') await new Promise((resolve) => setTimeout(resolve, fault.ms))
    if (fault?.kind === 'reset') {
      operations[operation]({ key, body, request, url, response: silent(response) })
      return void request.socket.resetAndDestroy()
    }
    operations[operation]({ key, body, request, url, response, fault })
  }

  const operations: Record<S3Operation, (call: Call) => void> = {
    HeadBucket: ({ response }) => response.writeHead(200).end(),
    HeadObject: ({ key, response }) => {
      const object = objects.get(key)
      if (!object) return void response.writeHead(404).end()
      response.writeHead(200, headersOf(object)).end()
    },
    GetObject: ({ key, request, response, fault }) => {
      const object = objects.get(key)
      if (!object) return fail(response, 404, 'NoSuchKey')
      if (!holds(request, object)) return fail(response, 412, 'PreconditionFailed')
      const asked = fault?.kind === 'no-range' ? undefined : request.headers.range
      const start = Number(/^bytes=(\d+)-/.exec(asked ?? '')?.[1] ?? 0)
      const range = { 'content-range': `bytes ${start}-${object.length - 1}/${object.length}` }
      response.writeHead(start > 0 ? 206 : 200, {
        ...headersOf(object),
        'content-length': object.length - start,
        ...(start > 0 ? range : {}),
      })
      sendBody(response, object.subarray(start), fault)
    },
    PutObject: ({ key, body, request, response }) => {
      if (!holds(request, objects.get(key))) return fail(response, 412, 'PreconditionFailed')
      objects.set(key, body)
      response.writeHead(200, { etag: etagOf(body) }).end()
    },
    DeleteObject: ({ key, request, response }) => {
      const object = objects.get(key)
      if (object && !holds(request, object)) return fail(response, 412, 'PreconditionFailed')
      objects.delete(key)
      response.writeHead(204).end()
    },
    DeleteObjects: ({ body, response, fault }) => {
      const named = body.toString().matchAll(/<Key>([^<]+)<\/Key>(?:<ETag>([^<]+)<\/ETag>)?/g)
      const errors = [...named].flatMap(([, key = '', etag]) => {
        const object = objects.get(key)
        if (fault?.kind === 'error-for-key' && fault.key === key) return [errorFor(key, fault.code)]
        const isAnother = object && etag && etag.replaceAll('&quot;', '"') !== etagOf(object)
        if (isAnother) return [errorFor(key, 'PreconditionFailed')]
        objects.delete(key)
        return []
      })
      xml(response, `<DeleteResult>${errors.join('')}</DeleteResult>`)
    },
    // as MinIO does, which takes a prefix for a whole key
    ListUploads: ({ url, response }) => {
      const prefix = url.searchParams.get('prefix') ?? ''
      const after = url.searchParams.get('upload-id-marker') ?? ''
      const ids = [...uploads.keys()]
        .filter((id) => ['', uploads.get(id)!.key].includes(prefix) && id > after)
        .sort()
      const page = ids.slice(0, 2)
      const listed = page.map((id) => {
        const { key, startedAt } = uploads.get(id)!
        return `<Upload><Key>${key}</Key><UploadId>${id}</UploadId><Initiated>${startedAt.toISOString()}</Initiated></Upload>`
      })
      const next = `<NextKeyMarker>${prefix}</NextKeyMarker><NextUploadIdMarker>${page.at(-1)}</NextUploadIdMarker>`
      const more = ids.length > page.length
      xml(
        response,
        `<ListMultipartUploadsResult><IsTruncated>${more}</IsTruncated>${more ? next : ''}${listed.join('')}</ListMultipartUploadsResult>`,
      )
    },
    ListParts: ({ url, response }) => {
      const upload = uploads.get(url.searchParams.get('uploadId') ?? '')
      if (!upload) return fail(response, 404, 'NoSuchUpload')
      const parts = [...upload.parts.keys()].map(
        (number) =>
          `<Part><PartNumber>${number}</PartNumber><LastModified>${new Date().toISOString()}</LastModified></Part>`,
      )
      xml(response, `<ListPartsResult><IsTruncated>false</IsTruncated>${parts.join('')}</ListPartsResult>`)
    },
    ListObjects: ({ url, response }) => {
      const prefix = url.searchParams.get('prefix') ?? ''
      const after = url.searchParams.get('continuation-token') ?? ''
      const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort()
      const page = keys.slice(0, 100)
      const more = keys.length > page.length
      const contents = page.map((key) => {
        const bytes = objects.get(key)!
        return `<Contents><Key>${key}</Key><Size>${bytes.length}</Size><ETag>${etagOf(bytes)}</ETag><LastModified>${new Date().toISOString()}</LastModified></Contents>`
      })
      const next = more ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : ''
      xml(
        response,
        `<ListBucketResult><IsTruncated>${more}</IsTruncated>${next}${contents.join('')}</ListBucketResult>`,
      )
    },
    CreateUpload: ({ key, response }) => {
      ids += 1
      uploads.set(`upload-${ids}`, { key, startedAt: new Date(), parts: new Map() })
      xml(
        response,
        `<InitiateMultipartUploadResult><UploadId>upload-${ids}</UploadId></InitiateMultipartUploadResult>`,
      )
    },
    UploadPart: ({ url, body, response }) => {
      const upload = uploads.get(url.searchParams.get('uploadId') ?? '')
      if (!upload) return fail(response, 404, 'NoSuchUpload')
      upload.parts.set(Number(url.searchParams.get('partNumber')), body)
      response.writeHead(200, { etag: etagOf(body) }).end()
    },
    CompleteUpload: ({ url, body, request, response }) => {
      const id = url.searchParams.get('uploadId') ?? ''
      const upload = uploads.get(id)
      if (!upload) return fail(response, 404, 'NoSuchUpload')
      if (!holds(request, objects.get(upload.key))) return fail(response, 412, 'PreconditionFailed')
      const parts = [...upload.parts].sort(([a], [b]) => a - b).map(([, bytes]) => bytes)
      const named = [...body.toString().matchAll(/<PartNumber>/g)].length
      if (parts.slice(0, -1).some(({ length }) => length < 5 * mebi))
        return fail(response, 400, 'EntityTooSmall')
      if (named !== parts.length) return fail(response, 400, 'InvalidPart')
      objects.set(upload.key, Buffer.concat(parts))
      uploads.delete(id)
      xml(response, '<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>')
    },
    AbortUpload: ({ url, response }) => {
      if (!uploads.delete(url.searchParams.get('uploadId') ?? '')) return fail(response, 404, 'NoSuchUpload')
      response.writeHead(204).end()
    },
  }

  const server = createServer((request, response) => void answer(request, response).catch(() => {}))
  server.on('connection', (socket) => {
    sockets.add(socket)
    accepted += 1
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

  return {
    endpoint: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    objects,
    uploads,
    requests,
    openSockets: () => sockets.size,
    accepted: () => accepted,
    put: (key, bytes) => void objects.set(key, bytes),
    remove: (key) => void objects.delete(key),
    next(operation, fault, times = 1) {
      for (let n = 0; n < times; n++) queued.push({ operation, fault })
    },
    always(names, fault) {
      standing = { operations: names, fault }
    },
    lift() {
      standing = undefined
      queued.length = 0
    },
    async close() {
      server.closeAllConnections()
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

interface Call {
  readonly key: string
  readonly body: Buffer
  readonly request: IncomingMessage
  readonly url: URL
  readonly response: ServerResponse
  readonly fault?: S3Fault | undefined
}

function sendBody(response: ServerResponse, bytes: Buffer, fault: S3Fault | undefined): void {
  if (fault?.kind !== 'cut' && fault?.kind !== 'stall') return void response.end(bytes)
  if (fault.bytes >= bytes.length) return void response.end(bytes)
  response.write(bytes.subarray(0, fault.bytes))
  if (fault.kind === 'cut') setTimeout(() => response.socket?.resetAndDestroy(), 30)
}

function operationOf(method: string, key: string, query: URLSearchParams): S3Operation {
  if (query.has('uploads')) return key === '' ? 'ListUploads' : 'CreateUpload'
  if (query.has('delete')) return 'DeleteObjects'
  if (key === '') return method === 'HEAD' ? 'HeadBucket' : 'ListObjects'
  if (query.has('uploadId') && method === 'GET') return 'ListParts'
  if (query.has('uploadId')) {
    return method === 'PUT' ? 'UploadPart' : method === 'POST' ? 'CompleteUpload' : 'AbortUpload'
  }
  const plain = { GET: 'GetObject', HEAD: 'HeadObject', PUT: 'PutObject', DELETE: 'DeleteObject' } as const
  return plain[method as keyof typeof plain]
}

function holds({ headers }: IncomingMessage, object: Buffer | undefined): boolean {
  if (headers['if-none-match'] === '*' && object) return false
  return headers['if-match'] === undefined || (object !== undefined && headers['if-match'] === etagOf(object))
}

function headersOf(object: Buffer): Record<string, string | number> {
  return {
    'content-length': object.length,
    etag: etagOf(object),
    'last-modified': new Date().toUTCString(),
  }
}

const etags = new WeakMap<Buffer, string>()

function etagOf(bytes: Buffer): string {
  const etag = etags.get(bytes) ?? `"${createHash('md5').update(bytes).digest('hex')}"`
  etags.set(bytes, etag)
  return etag
}

function xml(response: ServerResponse, text: string): void {
  response.writeHead(200, { 'content-type': 'application/xml' }).end(`<?xml version="1.0"?>${text}`)
}

function errorXml(code: string): string {
  return `<?xml version="1.0"?><Error><Code>${code}</Code><Message>as the test wants</Message></Error>`
}

function errorFor(key: string, code: string): string {
  return `<Error><Key>${key}</Key><Code>${code}</Code><Message>as the test wants</Message></Error>`
}

function fail(
  response: ServerResponse,
  status: number,
  code: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/xml', ...headers }).end(errorXml(code))
}

/** Does everything and says nothing. */
function silent(response: ServerResponse): ServerResponse {
  return { writeHead: () => ({ end: () => response }), write: () => true, end: () => response } as never
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}
