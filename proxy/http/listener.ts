import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { OciError } from '../oci/errors.ts'
import type { Connections } from './connections.ts'
import { refuse } from './refuse.ts'

export interface ListenerLimits {
  readonly headersTimeoutMs: number
  /** For the whole request to arrive, a body included. */
  readonly requestTimeoutMs: number
  /** Longer than a load balancer keeps its own side, so that it is never us who close first. */
  readonly keepAliveTimeoutMs: number
  /** A connection that takes none of the bytes waiting for it for so long is closed. */
  readonly writeIdleTimeoutMs: number
  readonly checkIntervalMs: number
  readonly maxConnections: number
}

export type Handler = (request: IncomingMessage, response: ServerResponse) => void

/** Node's server, strict in what it reads and bounded in what it waits for. */
export function createListener(limits: ListenerLimits, connections: Connections, handle: Handler): Server {
  const server = createServer({
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: limits.checkIntervalMs,
    maxHeaderSize: 16 * 1024,
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
    noDelay: true,
    requireHostHeader: false, // Node's own answer has no body
    joinDuplicateHeaders: true, // otherwise the first Host is taken, where others may take the last
  })
  server.maxConnections = limits.maxConnections
  server.setTimeout(limits.writeIdleTimeoutMs, (socket) => {
    // nothing waits to be taken by the client: it is we who are slow, and the pull has limits of its own
    if (connections.isBusy(socket) && socket.writableLength === 0)
      socket.setTimeout(limits.writeIdleTimeoutMs)
    else socket.destroy()
  })

  const handleWithHost: Handler = (request, response) => {
    if (!hasGoodHost(request)) {
      refuseAndClose(request, response, new OciError('REQUEST_INVALID'))
    } else {
      handle(request, response)
    }
  }
  server.on('request', handleWithHost)
  server.on('checkContinue', handleWithHost) // never told to go on: no body is wanted
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    refuseAndClose(request, response, new OciError('EXPECTATION_FAILED'))
  })
  return server
}

const legalHost = /^[A-Za-z0-9._~%!$&'()*+;=:[\]-]*$/

/** RFC 9112, 3.2: one, and in the grammar, since it says which registry is asked. Several are joined by commas here. */
function hasGoodHost({ headers: { host }, httpVersion }: IncomingMessage): boolean {
  return host === undefined ? httpVersion !== '1.1' : legalHost.test(host)
}

function refuseAndClose(request: IncomingMessage, response: ServerResponse, error: OciError): void {
  response.shouldKeepAlive = false
  refuse(request, response, error)
}
