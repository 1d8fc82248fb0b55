import {
  DeleteObjectsCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListPartsCommand,
  type ListPartsCommandOutput,
  type S3Client,
  type _Error as S3Error,
  S3ServiceException,
} from '@aws-sdk/client-s3'
import { pages } from './s3-pages.ts'

/** What of a bucket only those need who tidy it. Each ends in time, and throws as the bucket's writes do. */
export interface Housekeeping {
  /**
   * At most a thousand. Gives those that were not deleted: the answer is a 200 for them too, or a refusal of all. Throws where
   * they may be deleted yet. Whether something else than the etag is there is looked at by servers that know of it.
   */
  deleteMany(objects: readonly { key: string; etag: string }[]): Promise<readonly ObjectFailure[]>
  listUploads(prefix: string): AsyncIterable<ListedUpload>
  /** When its last part came; undefined where it has none, or is not there any more. */
  lastPartAt(key: string, uploadId: string): Promise<number | undefined>
}

export interface ObjectFailure {
  readonly key: string
  readonly reason: string
}

export interface ListedUpload {
  readonly key: string
  readonly uploadId: string
  readonly startedAt: number
}

export function createHousekeeping({
  s3,
  bucket,
  write,
  deleteOne,
  isAbsent,
}: {
  s3: S3Client
  bucket: string
  /** False when something else than the etag is there. */
  deleteOne: (key: string, etag: string) => Promise<boolean>
  write: <T>(work: (signal: AbortSignal) => Promise<T>) => Promise<T>
  isAbsent: (error: unknown) => boolean
}): Housekeeping {
  return {
    async deleteMany(objects) {
      if (objects.length === 0) return []
      const Objects = objects.map(({ key, etag }) => ({ Key: key, ETag: etag }))
      const command = new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects, Quiet: true } })
      let errors: S3Error[]
      try {
        errors = (await write((abortSignal) => s3.send(command, { abortSignal }))).Errors ?? []
      } catch (error) {
        const refusal = refusalIn(error)
        if (!refusal) throw error
        if (unknownStatuses.includes(refusal.status)) return deleteEach(objects)
        errors = objects.map(({ key }) => ({ Key: key, Code: refusal.reason }))
      }
      return errors
        .filter(({ Code }) => Code !== 'NoSuchKey')
        .map(({ Key, Code, Message }) => ({
          key: Key ?? '',
          reason: [Code, Message].filter(Boolean).join(': '),
        }))
    },

    async *listUploads(prefix) {
      for await (const { Uploads = [] } of pages(uploadsAfter, nextUploads)) {
        for (const { Key, UploadId, Initiated } of Uploads) {
          if (!Key?.startsWith(prefix) || UploadId === undefined || Initiated === undefined) continue
          yield { key: Key, uploadId: UploadId, startedAt: Initiated.getTime() }
        }
      }
    },

    async lastPartAt(key, uploadId) {
      const times: number[] = []
      try {
        for await (const { Parts = [] } of pages(partsAfter(key, uploadId), nextParts)) {
          for (const { LastModified } of Parts) times.push(LastModified?.getTime() ?? 0)
        }
      } catch (error) {
        if (!isAbsent(error)) throw error
      }
      return times.length === 0 ? undefined : times.reduce((last, time) => Math.max(last, time))
    },
  }

  /** Of the whole bucket: MinIO takes a prefix for the key of one object. */
  function uploadsAfter(marker: UploadsMarker | undefined) {
    const command = new ListMultipartUploadsCommand({ Bucket: bucket, ...marker })
    return write((abortSignal) => s3.send(command, { abortSignal }))
  }

  /** For servers that know no DeleteObjects, or want an MD5 with it, which the SDK does not send. */
  async function deleteEach(
    objects: readonly { key: string; etag: string }[],
  ): Promise<readonly ObjectFailure[]> {
    const failures = await Promise.all(
      objects.map(async ({ key, etag }): Promise<ObjectFailure[]> => {
        try {
          return (await deleteOne(key, etag)) ? [] : [{ key, reason: 'PreconditionFailed' }]
        } catch (error) {
          const refusal = refusalIn(error)
          if (!refusal) throw error
          return [{ key, reason: refusal.reason }]
        }
      }),
    )
    return failures.flat()
  }

  function partsAfter(key: string, uploadId: string) {
    return (marker: PartsMarker | undefined) => {
      const command = new ListPartsCommand({ Bucket: bucket, Key: key, UploadId: uploadId, ...marker })
      return write((abortSignal) => s3.send(command, { abortSignal }))
    }
  }
}

/**
 * Why nothing of it is done, nor will be: of a 5xx but NotImplemented, which may be that of a balancer before S3, nobody
 * knows, and no more of a request that was sent before.
 */
function refusalIn(error: unknown): { readonly status: number; readonly reason: string } | undefined {
  const said = error instanceof S3ServiceException ? error : (error as Error).cause
  if (!(said instanceof S3ServiceException)) return undefined
  const { httpStatusCode: status = 0, attempts = 1 } = said.$metadata
  const isRefusal = ((status >= 400 && status < 500) || status === 501) && attempts === 1
  return isRefusal ? { status, reason: `${status} ${said.name}: ${said.message}` } : undefined
}

/** Of an operation that a server does not have, or not in this form. */
const unknownStatuses: readonly number[] = [400, 405, 411, 501]

interface UploadsMarker {
  readonly KeyMarker: string | undefined
  readonly UploadIdMarker: string | undefined
}

interface PartsMarker {
  readonly PartNumberMarker: string | undefined
}

function nextUploads(page: ListMultipartUploadsCommandOutput): UploadsMarker | undefined {
  const { IsTruncated, NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page
  return IsTruncated && KeyMarker !== undefined ? { KeyMarker, UploadIdMarker } : undefined
}

function nextParts({ IsTruncated, NextPartNumberMarker }: ListPartsCommandOutput): PartsMarker | undefined {
  return IsTruncated && NextPartNumberMarker ? { PartNumberMarker: NextPartNumberMarker } : undefined
}
