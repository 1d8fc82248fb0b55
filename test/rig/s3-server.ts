import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { needPart } from './parts.ts'
import { type RunningProcess, startProcess } from './process.ts'
import { freePort } from './redis.ts'

/** A real S3 server (versitygw) over a temporary folder; each bucket is a folder in it. */
export interface S3Server {
  readonly endpoint: string
  readonly port: number
  readonly pid: number
  /** As the environment of a process that is to use it. */
  readonly credentials: Readonly<Record<string, string>>
  /** Where the objects of a bucket are, as files. */
  folderOf(bucket: string): string
  /** Each request it has answered, as `GET /bucket/key`, the oldest of a great many left out. */
  requests(): string[]
  /** A bucket with nothing in it. */
  makeBucket(): Promise<string>
  signal(signal: NodeJS.Signals): void
  kill(): Promise<void>
  start(): Promise<void>
  close(): Promise<void>
}

export const s3AccessKey = 'rig-access-key'
export const s3SecretKey = 'canary-s3-secret-key'

let buckets = 0

export async function startS3(): Promise<S3Server> {
  const folder = await mkdtemp(join(tmpdir(), 'headwater-s3-'))
  const port = await freePort()
  let running: RunningProcess | undefined

  async function start(): Promise<void> {
    running = await startProcess({
      command: needPart('versitygw'),
      args: ['--port', `127.0.0.1:${port}`, 'posix', folder],
      env: { ROOT_ACCESS_KEY: s3AccessKey, ROOT_SECRET_KEY: s3SecretKey },
      ready: new RegExp(`127\\.0\\.0\\.1:${port}`),
    })
  }
  await start()

  return {
    endpoint: `http://127.0.0.1:${port}`,
    port,
    get pid() {
      return running!.pid
    },
    credentials: { AWS_ACCESS_KEY_ID: s3AccessKey, AWS_SECRET_ACCESS_KEY: s3SecretKey },
    folderOf: (bucket) => join(folder, bucket),
    requests: () =>
      [...running!.log().matchAll(/\| ([A-Z]+) \| (\/.*?) \| /g)].map(
        ([, method, path]) => `${method} ${path}`,
      ),
    async makeBucket() {
      buckets += 1
      const bucket = `bucket-${process.pid}-${buckets}`
      await mkdir(join(folder, bucket))
      return bucket
    },
    signal: (signal) => running!.signal(signal),
    kill: () => running!.kill9(),
    start,
    async close() {
      await running?.kill9()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
