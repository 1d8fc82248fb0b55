import { createInterface } from 'node:readline'
import { createFakeUpstream } from './fake-upstream.ts'
import { contentStore } from './image-store.ts'
import { pushImage, type SampleImage } from './images.ts'

/**
 * The fake upstream as a program, for measurements that must not share a process with what they measure:
 * `node test/rig/upstream-process.ts '{"latencyMs":30,"bytesPerSecond":50000000,"images":[…]}'`. It prints one line of
 * JSON once it listens, and answers each line on its standard input with one: what it has sent so far. A line that is a
 * path holds up what is being sent of it. The end of standard input ends it.
 */
export interface UpstreamProcessOptions {
  readonly latencyMs?: number
  readonly bytesPerSecond?: number
  readonly images: readonly {
    readonly repository: string
    readonly tag: string
    readonly layers: readonly number[]
    readonly seed?: number
  }[]
}

const { images, ...options } = JSON.parse(process.argv[2] ?? '{"images":[]}') as UpstreamProcessOptions
const upstream = await createFakeUpstream(options)
const pushed: SampleImage[] = []
for (const { repository, ...image } of images) {
  pushed.push(await pushImage(contentStore(upstream.content), repository, { ...image, inMemory: true }))
}
console.log(JSON.stringify({ url: upstream.url, host: upstream.host, images: pushed }))

const lines = createInterface({ input: process.stdin })
lines.on('line', (held) => {
  if (held !== '') upstream.hold(held)
  const requests = upstream
    .requests()
    .map(({ method, path, status, headers, at, bodyBytesSent, outcome }) => ({
      ...{ method, path, status, at, bodyBytesSent, outcome, range: headers.range },
    }))
  console.log(
    JSON.stringify({ bytesSent: upstream.bytesSent(), connections: upstream.connections(), requests }),
  )
})
lines.on('close', () => process.exit(0))
