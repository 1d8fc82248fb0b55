import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'

/** How long a client has to begin its GET; S3 does not cut one that has begun. */
const validSeconds = 60

export interface Presigner {
  /** A URL that gives the object to whoever has it, for a minute: a secret until then. */
  presign(key: string): Promise<string>
  close(): void
}

/**
 * Signs as the client does, with the same credentials and the bucket in the path or in the host's name as there; for the
 * address by which others reach S3 where that is another. The content type is part of what is signed, so that nobody is
 * given a blob as a page.
 */
export function createPresigner({
  s3,
  bucket,
  endpoint,
}: {
  s3: S3Client
  bucket: string
  endpoint: string | undefined
}): Presigner {
  const signer = endpoint === undefined ? s3 : clientAt(endpoint, s3)
  return {
    presign(key) {
      const object = { Bucket: bucket, Key: key, ResponseContentType: 'application/octet-stream' }
      // what S3 once said of our clock: a URL of a past minute would be refused
      const signingDate = new Date(Date.now() + s3.config.systemClockOffset)
      return getSignedUrl(signer, new GetObjectCommand(object), { expiresIn: validSeconds, signingDate })
    },
    close() {
      if (signer !== s3) signer.destroy()
    },
  }
}

function clientAt(endpoint: string, { config }: S3Client): S3Client {
  const { region, credentials, forcePathStyle } = config
  return new S3Client({
    ...{ endpoint, region, credentials, forcePathStyle: forcePathStyle === true },
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
}
