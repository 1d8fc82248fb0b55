import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { putBlob, startEdge } from '../../proxy/http/fixtures.ts'

/**
 * Run within a network namespace of its own: two clients whose every packet is dropped from one moment on, one in the
 * middle of a blob and one that waits on a kept connection. Prints what the server made of them.
 */
execFileSync('ip', ['link', 'set', 'lo', 'up'])
const edge = await startEdge({ limits: { writeIdleTimeoutMs: 2_000, keepAliveTimeoutMs: 2_000 } })
const { digest, bodies } = putBlob(edge.pull, 'alpine', randomBytes(64 * 1024 * 1024))

async function openClient(path: string): Promise<Socket> {
  const socket = connect(edge.port, '127.0.0.1')
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve))
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await new Promise((resolve) => socket.once('data', resolve))
  return socket
}

const connections = () =>
  new Promise<number>((resolve, reject) => {
    edge.app.fastify.server.getConnections((error, count) => (error ? reject(error) : resolve(count)))
  })

const idle = await openClient('/v2/')
const reading = await openClient(`/v2/vr1/alpine/blobs/${digest}`)
for (const { localPort } of [idle, reading]) {
  for (const [chain, port] of [
    ['INPUT', '--sport'],
    ['INPUT', '--dport'],
  ] as const) {
    execFileSync('iptables', ['-I', chain, '-p', 'tcp', port, String(localPort), '-j', 'DROP'])
  }
}
const before = await connections()
const startedAt = performance.now()
while ((await connections()) > 0 && performance.now() - startedAt < 20_000) await sleep(50)
console.log(
  JSON.stringify({
    before,
    after: await connections(),
    seconds: (performance.now() - startedAt) / 1000,
    bodiesClosed: bodies.every(({ closed }) => closed),
    outcomes: edge.lines().flatMap(({ kind, outcome }) => (kind === 'blob' ? [outcome] : [])),
  }),
)
process.exit(0)
