import { afterAll, beforeAll, vi } from 'vitest'
import { createBucket } from '../../../proxy/store/s3-bucket.ts'
import { createS3DocumentStore } from '../../../proxy/store/s3-document-store.ts'
import { describeDocumentStore } from '../../contracts/document-store.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type S3Server, startS3 } from '../../rig/s3-server.ts'

describeWithParts(['versitygw'], 'over a real S3 server', () => {
  let server: S3Server
  const closing: (() => void)[] = []
  beforeAll(async () => {
    server = await startS3()
    for (const [name, value] of Object.entries(server.credentials)) vi.stubEnv(name, value)
  })
  afterAll(async () => {
    for (const close of closing) close()
    vi.unstubAllEnvs()
    await server.close()
  })

  describeDocumentStore('S3', async () => {
    const bucket = createBucket({ bucket: await server.makeBucket(), endpoint: server.endpoint })
    closing.push(bucket.close)
    return createS3DocumentStore({ bucket })
  })
})
