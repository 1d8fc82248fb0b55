import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { SampleImage } from './images.ts'
import type { UpstreamProcessOptions } from './upstream-process.ts'

/** The fake upstream in a process of its own, see `upstream-process.ts`. */
export interface UpstreamProcess {
  readonly url: string
  readonly host: string
  readonly pid: number
  readonly images: readonly SampleImage[]
  sent(): Promise<UpstreamSent>
  /** Nothing more leaves on the connections that are sending this. What it had sent until then. */
  hold(path: string): Promise<UpstreamSent>
  close(): Promise<void>
}

export interface UpstreamSent {
  readonly bytesSent: number
  readonly connections: { readonly accepted: number; readonly open: number }
  readonly requests: readonly {
    readonly method: string
    readonly path: string
    readonly status?: number
    readonly range?: string
    /** Milliseconds since the epoch. */
    readonly at: number
    readonly bodyBytesSent: number
    readonly outcome: string
  }[]
}

export async function startUpstreamProcess(options: UpstreamProcessOptions): Promise<UpstreamProcess> {
  const args = ['test/rig/upstream-process.ts', JSON.stringify(options)]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = new Promise((resolve) => child.once('close', resolve))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const line = async <T>(): Promise<T> => {
    const { value, done } = await lines.next()
    if (done) throw new Error('the upstream process ended')
    return JSON.parse(value) as T
  }
  const ask = async (path: string): Promise<UpstreamSent> => {
    child.stdin.write(`${path}\n`)
    return line<UpstreamSent>()
  }
  const { url, host, images } = await line<Pick<UpstreamProcess, 'url' | 'host' | 'images'>>()
  return {
    ...{ url, host, images },
    pid: child.pid!,
    sent: () => ask(''),
    hold: ask,
    async close() {
      child.stdin.end()
      await exited
    },
  }
}
