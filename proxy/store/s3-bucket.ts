import type { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  PutObjectCommand,
  S3Client,
  type _Object as S3Object,
  S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { NoRoomError } from './blob-store.ts'
import { createBreaker, inTime, StoreUnavailableError } from './breaker.ts'
import { BucketSettingsError } from './bucket-settings-error.ts'
import { type ObjectBody, withDeadlines } from './s3-body.ts'
import { createS3Connections } from './s3-connections.ts'
import { createHousekeeping, type Housekeeping } from './s3-housekeeping.ts'
import { pages } from './s3-pages.ts'
import { createBodyPlaces } from './s3-places.ts'
import { createPresigner } from './s3-presigner.ts'

/**
 * One bucket. Whatever it does ends in time. Reads keep a breaker, behind which S3 costs nothing while it is away; writes,
 * for which no client waits, fail at once while it is open. Throws StoreUnavailableError, and NoRoomError for a full bucket.
 */
export interface Bucket extends Housekeeping {
  readonly available: boolean
  /** Undefined when absent. */
  head(key: string): Promise<StoredObject | undefined>
  /** To be read at once. Undefined when absent. The caller reads or destroys it. */
  get(key: string): Promise<OpenObject | undefined>
  /**
   * The same to be read as slowly as its reader likes, on connections of their own; a read may throw BodyParkedError. From
   * `start` to the end; undefined also when it is no longer what `ifMatch` was.
   */
  open(key: string, from?: { start: number; ifMatch: string }): Promise<OpenObject | undefined>
  /** False when the precondition fails. */
  put(key: string, body: Uint8Array, condition?: ObjectCondition): Promise<boolean>
  /** False when something else than `ifMatch` is there. Deleting what is absent succeeds. */
  delete(key: string, ifMatch?: string): Promise<boolean>
  list(prefix: string): AsyncIterable<ListedObject>
  /** A URL to get it by, good for a minute, whether or not it is there: a secret. */
  presign(key: string): Promise<string>

  startUpload(key: string): Promise<string>
  /** Gives the part's etag. */
  uploadPart(key: string, uploadId: string, number: number, body: Uint8Array): Promise<string>
  /** `exists` where an object is there already, `lost` where the upload is not there any more. */
  completeUpload(key: string, uploadId: string, etags: readonly string[]): Promise<'done' | 'exists' | 'lost'>
  abortUpload(key: string, uploadId: string): Promise<void>

  /** Throws BucketSettingsError for what no waiting cures; true when it can be used. When not it is away from then on, and `onChange` is told why. */
  check(): Promise<boolean>
  close(): void
}

export interface StoredObject {
  readonly size: number
  readonly etag: string
}

export interface ListedObject extends StoredObject {
  readonly key: string
  readonly modifiedAt: number
}

export interface OpenObject extends StoredObject {
  readonly body: ObjectBody
}

export type ObjectCondition = { readonly ifMatch: string } | { readonly ifAbsent: true }

export interface BucketOptions {
  readonly bucket: string
  /** Of a compatible server; unset for AWS. */
  readonly endpoint?: string | undefined
  /** By which clients reach the same server, where that is another. */
  readonly redirectEndpoint?: string | undefined
  readonly region?: string | undefined
  readonly onChange?: (available: boolean, error: unknown) => void
  readonly limits?: Partial<BucketLimits>
}

export interface BucketLimits {
  /** To the head of an answer that a client waits for. */
  readonly answerMs: number
  /** For a small write, and a page of a list. */
  readonly writeMs: number
  /** For a part, and for putting parts together. */
  readonly uploadMs: number
  /** Between two pieces of a body. */
  readonly idleMs: number
}

const defaultLimits: BucketLimits = { answerMs: 2_000, writeMs: 10_000, uploadMs: 60_000, idleMs: 1_500 }

const connectMs = 1_000
/** To an answer to whatever nobody bounds, such as a question for credentials. */
const longestMs = 60_000
const maxSockets = 128
const maxBodies = 128

export function createBucket(options: BucketOptions): Bucket {
  const { bucket, endpoint, redirectEndpoint, region, onChange } = options
  const limits = { ...defaultLimits, ...options.limits }
  const s3 = createClient({ endpoint, region: region ?? (endpoint && foundRegion()), maxSockets })
  // beyond those in use some may be closing
  const { region: found, credentials } = s3.config
  const readers = createClient({ endpoint, region: found, credentials, maxSockets: 2 * maxBodies })
  const places = createBodyPlaces(maxBodies)
  const presigner = createPresigner({ s3, bucket, endpoint: redirectEndpoint })
  const breaker = createBreaker({
    name: 'S3',
    probe: (abortSignal) => s3.send(new HeadBucketCommand({ Bucket: bucket }), { abortSignal }),
    probeMs: limits.answerMs,
    isTrouble,
    failuresToOpen: 3,
    onChange: onChange ?? (() => {}),
  })
  const at = (key: string) => ({ Bucket: bucket, Key: key })

  async function write<T>(work: (signal: AbortSignal) => Promise<T>, ms = limits.writeMs): Promise<T> {
    if (!breaker.available) throw new StoreUnavailableError('S3 is away')
    try {
      return await inTime(work, ms)
    } catch (error) {
      if (isFull(error)) throw new NoRoomError('the bucket is full', { cause: error })
      if (!(error instanceof S3ServiceException) || isTrouble(error)) {
        const status = statusOf(error) ?? 'nothing'
        throw new StoreUnavailableError(`S3 answered ${status}`, { cause: error })
      }
      throw error
    }
  }

  async function read(
    client: S3Client,
    key: string,
    from?: { start: number; ifMatch: string },
  ): Promise<OpenObject | undefined> {
    const range = from && from.start > 0 ? { Range: `bytes=${from.start}-` } : {}
    const condition = from ? { IfMatch: from.ifMatch } : {}
    const command = new GetObjectCommand({ ...at(key), ...range, ...condition })
    const answer = breaker.run((abortSignal) => client.send(command, { abortSignal }), limits.answerMs)
    const object = await orAbsent(answer).catch((error: unknown) => {
      throw isArchived(error)
        ? new StoreUnavailableError('the object is in an archive', { cause: error })
        : error
    })
    return object && openedOf(object, from?.start ?? 0, limits.idleMs)
  }

  return {
    get available() {
      return breaker.available
    },

    async head(key) {
      const object = await orAbsent(
        breaker.run(
          (abortSignal) => s3.send(new HeadObjectCommand(at(key)), { abortSignal }),
          limits.answerMs,
        ),
      )
      return object && { size: object.ContentLength ?? 0, etag: object.ETag ?? '' }
    },

    get: (key) => read(s3, key),
    open: (key, from) => places.open(() => read(readers, key, from)),

    put(key, body, condition) {
      const command = new PutObjectCommand({ ...at(key), Body: body, ...headersOf(condition) })
      return onlyIf((signal) => s3.send(command, { abortSignal: signal }), condition !== undefined)
    },

    delete: remove,

    async *list(prefix) {
      const read = (token: string | undefined) => {
        const command = new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, ContinuationToken: token })
        return write((abortSignal) => s3.send(command, { abortSignal }))
      }
      const next = (page: ListObjectsV2CommandOutput) =>
        page.IsTruncated ? page.NextContinuationToken : undefined
      for await (const { Contents = [] } of pages(read, next))
        yield* Contents.flatMap((object) => listedOf(object, prefix))
    },

    // the credentials may have to be fetched first
    presign: (key) => inTime(() => presigner.presign(key), limits.answerMs),

    async startUpload(key) {
      const command = new CreateMultipartUploadCommand(at(key))
      const { UploadId } = await write((abortSignal) => s3.send(command, { abortSignal }))
      if (UploadId === undefined) throw new StoreUnavailableError('S3 began an upload and gave no id')
      return UploadId
    },

    async uploadPart(key, uploadId, number, body) {
      const command = new UploadPartCommand({
        ...at(key),
        ...{ UploadId: uploadId, PartNumber: number, Body: body },
      })
      const { ETag } = await write((abortSignal) => s3.send(command, { abortSignal }), limits.uploadMs)
      if (ETag === undefined) throw new StoreUnavailableError('S3 took a part and gave no etag')
      return ETag
    },

    async completeUpload(key, uploadId, etags) {
      const parts = etags.map((etag, at) => ({ PartNumber: at + 1, ETag: etag }))
      const command = new CompleteMultipartUploadCommand({
        ...at(key),
        ...{ UploadId: uploadId, MultipartUpload: { Parts: parts }, IfNoneMatch: '*' },
      })
      try {
        await write((abortSignal) => s3.send(command, { abortSignal }), limits.uploadMs)
        return 'done'
      } catch (error) {
        if (statusOf(error) === 412) return 'exists'
        if (statusOf(error) === 404 || statusOf(error) === 409) return 'lost'
        throw error
      }
    },

    async abortUpload(key, uploadId) {
      const command = new AbortMultipartUploadCommand({ ...at(key), UploadId: uploadId })
      await write((abortSignal) => s3.send(command, { abortSignal })).catch((error: unknown) => {
        if (statusOf(error) !== 404) throw error
      })
    },

    ...createHousekeeping({
      ...{ s3, bucket, write, deleteOne: remove },
      isAbsent: (error) => statusOf(error) === 404,
    }),

    async check() {
      try {
        // unlike that of a HEAD, its answer says why not
        const command = new ListObjectsV2Command({ Bucket: bucket, MaxKeys: 1 })
        await inTime((abortSignal) => s3.send(command, { abortSignal }), limits.answerMs)
        return true
      } catch (cause) {
        const problem = isExpired(cause) ? undefined : settingsProblems[statusOf(cause) ?? 0]
        if (problem !== undefined) throw new BucketSettingsError(`bucket ${bucket}: ${problem}`, { cause })
        breaker.open(new StoreUnavailableError(`bucket ${bucket}: ${whyAway(cause)}`, { cause }))
        return false
      }
    },

    close() {
      breaker.close()
      presigner.close()
      readers.destroy()
      s3.destroy()
    },
  }

  function remove(key: string, ifMatch?: string): Promise<boolean> {
    const condition = ifMatch === undefined ? {} : { IfMatch: ifMatch }
    const command = new DeleteObjectCommand({ ...at(key), ...condition })
    return onlyIf((signal) => s3.send(command, { abortSignal: signal }), false)
  }

  /** Two writers at once may be told to try again: then one of them finds what the other wrote. */
  async function onlyIf(
    work: (signal: AbortSignal) => Promise<unknown>,
    absentFails: boolean,
  ): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        await write(work)
        return true
      } catch (error) {
        const status = statusOf(error)
        if (status === 412) return false
        if (isAbsent(error)) return !absentFails
        if (status !== 409 || attempt >= 5) throw error
      }
    }
  }
}

/** Checksums only where the operation demands them: servers that are not AWS may not know AWS's newer ones. */
function createClient({
  endpoint,
  region,
  maxSockets,
  credentials,
}: Pick<BucketOptions, 'endpoint'> & {
  maxSockets: number
  /** As the SDK finds it where it is undefined. */
  region: string | S3Client['config']['region'] | undefined
  /** Of another client, which then asks for them for both. */
  credentials?: S3Client['config']['credentials']
}): S3Client {
  return new S3Client({
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    ...(region && { region }),
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    expectContinueHeader: false,
    ...(credentials && { credentials }),
    followRegionRedirects: false,
    maxAttempts: 3,
    requestHandler: createS3Connections({ connections: maxSockets, connectMs, answerMs: longestMs }),
  })
}

/** Servers that are not AWS mostly have one that they do not name. */
function foundRegion(): S3Client['config']['region'] {
  const { region } = new S3Client().config
  return () => region().catch(() => 'us-east-1')
}

/** None where S3 answers with what it was not asked for. */
function listedOf({ Key, Size, ETag, LastModified }: S3Object, prefix: string): ListedObject[] {
  if (!Key?.startsWith(prefix)) return []
  return [{ key: Key, size: Size ?? 0, etag: ETag ?? '', modifiedAt: LastModified?.getTime() ?? 0 }]
}

function isAbsent(error: unknown): boolean {
  return statusOf(error) === 404 && !isMissingBucket(error)
}

function openedOf(object: GetObjectCommandOutput, start: number, idleMs: number): OpenObject {
  const stream = object.Body as Readable
  const length = object.ContentLength ?? 0
  const rangeStart = /^bytes (\d+)-/.exec(object.ContentRange ?? '')?.[1]
  const body = withDeadlines(stream, { length, idleMs })
  if ((start > 0 || rangeStart !== undefined) && Number(rangeStart) !== start) {
    body.destroy()
    throw new StoreUnavailableError('S3 answered with another range than it was asked for')
  }
  return { size: start + length, etag: object.ETag ?? '', body }
}

async function orAbsent<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    const status = statusOf(error)
    if (isAbsent(error) || status === 412) return undefined
    throw error
  }
}

function headersOf(condition: ObjectCondition | undefined): { IfMatch?: string; IfNoneMatch?: string } {
  if (condition === undefined) return {}
  return 'ifAbsent' in condition ? { IfNoneMatch: '*' } : { IfMatch: condition.ifMatch }
}

const settingsProblems: Readonly<Record<number, string>> = {
  301: 'it is in another region; see --s3-region and --s3-endpoint',
  400: 'S3 takes the request for a mistaken one; see --s3-region and --s3-endpoint',
  404: 'there is no such bucket',
}

/** Credentials that are renewed by others, in time. */
function isExpired(error: unknown): boolean {
  return error instanceof S3ServiceException && /^(?:Expired|Invalid)Token$|^TokenRefresh/.test(error.name)
}

function whyAway(error: unknown): string {
  if (!(error instanceof S3ServiceException)) {
    const { message, code } = error as NodeJS.ErrnoException
    return `S3 cannot be reached: ${message || code}` // of several addresses that all refuse there is no message
  }
  const said = `${statusOf(error)} ${error.name}`
  if (isExpired(error)) return `the credentials for S3 are not good any more (${said})`
  if (statusOf(error) !== 403) return `S3 answered ${said}`
  return `S3 refuses these credentials, or they have no s3:ListBucket for it (${said})`
}

function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined
}

function isMissingBucket(error: unknown): boolean {
  return error instanceof S3ServiceException && error.name === 'NoSuchBucket'
}

/** What it says of an object's state is an answer; all else, refused credentials too, is trouble. */
function isTrouble(error: unknown): boolean {
  if (isArchived(error)) return false
  return isMissingBucket(error) || ![404, 409, 412, 416].includes(statusOf(error) ?? 0)
}

function isArchived(error: unknown): boolean {
  return error instanceof S3ServiceException && error.name === 'InvalidObjectState'
}

const fullNames = ['XMinioStorageFull', 'InsufficientStorage', 'QuotaExceeded', 'EntityTooLarge']

function isFull(error: unknown): boolean {
  return error instanceof S3ServiceException && (statusOf(error) === 507 || fullNames.includes(error.name))
}
