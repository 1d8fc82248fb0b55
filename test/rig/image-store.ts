import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import type { DigestAlgorithm } from '../../proxy/oci/digest.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import type { Content, Descriptor } from './content.ts'
import type { Registry } from './registry.ts'
import { type Source, sourceDigest } from './source.ts'

/** Where sample images are put: the fake's memory or a real registry over HTTP. */
export interface ImageStore {
  putBlob(
    repository: string,
    blob: Source,
    options: { mediaType: string; algorithm?: DigestAlgorithm | undefined },
  ): Promise<Descriptor>
  putManifest(
    repository: string,
    manifest: object,
    options: { mediaType: string; tag?: string | undefined; algorithm?: DigestAlgorithm | undefined },
  ): Promise<Descriptor>
}

export function contentStore(content: Content): ImageStore {
  const plain = <T extends object>(options: T) => ({ ...options, algorithm: algorithmIn(options) })
  return {
    putBlob: async (repository, blob, options) => content.putBlob(repository, blob, plain(options)),
    async putManifest(repository, manifest, { tag, ...options }) {
      return content.putManifest(repository, manifest, {
        ...plain(options),
        ...(tag !== undefined && { tag }),
      })
    },
  }
}

function algorithmIn(options: { algorithm?: DigestAlgorithm | undefined }): DigestAlgorithm {
  return options.algorithm ?? 'sha256'
}

/** Pushes as the specification says: POST for a place, PUT with the digest. */
export function registryStore(registry: Registry): ImageStore {
  return {
    async putBlob(repository, blob, { mediaType, algorithm }) {
      const digest = sourceDigest(blob, algorithm)
      const authorization = await authorize(registry, repository)
      const place = await send(registry, 'POST', `/v2/${repository}/blobs/uploads/`, { authorization })
      const url = new URL(must(place, 202).headers.location ?? '', registry.url)
      url.searchParams.set('digest', digest)
      const type = 'application/octet-stream'
      must(await send(registry, 'PUT', url.pathname + url.search, { authorization, body: blob, type }), 201)
      return { mediaType, digest, size: blob.size }
    },

    async putManifest(repository, manifest, { mediaType, tag, algorithm }) {
      const bytes = Buffer.from(JSON.stringify(manifest))
      const digest = digestOf(bytes, algorithm)
      const authorization = await authorize(registry, repository)
      const path = `/v2/${repository}/manifests/${tag ?? digest}`
      must(await send(registry, 'PUT', path, { authorization, body: sourceOf(bytes), type: mediaType }), 201)
      return { mediaType, digest, size: bytes.length }
    },
  }
}

function sourceOf(bytes: Buffer): Source {
  return { size: bytes.length, read: (start, end) => [bytes.subarray(start, end)] }
}

async function authorize(registry: Registry, repository: string): Promise<string | undefined> {
  const { username, password, tokens } = registry
  if (username === undefined) return undefined
  const basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
  if (!tokens) return basic
  const url = `${tokens.realm}?service=${tokens.service}&scope=repository:${repository}:pull,push`
  const answer = must(await send(registry, 'GET', url, { authorization: basic }), 200)
  return `Bearer ${(JSON.parse(answer.body) as { token: string }).token}`
}

interface Sent {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

function must(sent: Sent, status: number): Sent {
  if (sent.status !== status) throw new Error(`the registry answered ${sent.status}: ${sent.body}`)
  return sent
}

async function send(
  registry: Registry,
  method: string,
  path: string,
  { authorization, body, type }: { authorization: string | undefined; body?: Source; type?: string },
): Promise<Sent> {
  const headers = {
    'content-length': body?.size ?? 0,
    ...(type !== undefined && { 'content-type': type }),
    ...(authorization !== undefined && { authorization }),
  }
  // no connection is kept: hashing a large layer blocks for seconds, in which the other side closes it unseen
  const options = { method, headers, ca: registry.authority?.ca, agent: false as const }
  const url = new URL(path, registry.url)
  const request = url.protocol === 'https:' ? httpsRequest(url, options) : httpRequest(url, options)
  const answered = new Promise<Sent>((resolve, reject) => {
    request.once('error', reject)
    request.once('response', (response) => {
      const { statusCode: status = 0, headers: found } = response
      text(response).then((body) => resolve({ status, headers: found as Sent['headers'], body }), reject)
    })
  })
  await pipeline(body ? Readable.from(body.read(0, body.size)) : Readable.from([]), request)
  return answered
}
