import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Story } from '../pull/pull.ts'
import type { Registry, RouteTable } from '../route-table.ts'

export type EndpointKind = 'version' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'none'

/** One request and what becomes of it: filled in along the way, told as a log line and in the metrics at its end. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly method: 'GET' | 'HEAD'
  readonly id: string
  /** By `performance.now()`. */
  readonly startedAt: number
  readonly story: Story
  kind: EndpointKind
  /** What it was authorised by. */
  routes: RouteTable | undefined
  registry: Registry | undefined
  /** Without the registry's path once that is known; before, the whole name as it was asked for. */
  repository: string | undefined
  reference: string | undefined
  ns: string
  bytes: number
  firstByteAt: number | undefined
  failure: unknown
  /** The connection was cut by us, after the head of the response was sent. */
  cut: boolean
}

export function createExchange(request: IncomingMessage, response: ServerResponse, id: string): Exchange {
  return {
    request,
    response,
    method: request.method === 'HEAD' ? 'HEAD' : 'GET',
    id,
    startedAt: performance.now(),
    story: { trail: [] },
    kind: 'none',
    routes: undefined,
    registry: undefined,
    repository: undefined,
    reference: undefined,
    ns: '',
    bytes: 0,
    firstByteAt: undefined,
    failure: undefined,
    cut: false,
  }
}
