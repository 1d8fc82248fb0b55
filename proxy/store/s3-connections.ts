import { UndiciHttpHandler } from '@smithy/undici-http-handler'
import { Agent } from 'undici'

/** Connections to S3 for a client of the SDK, which destroys them. `answerMs` bounds whatever has no shorter time of its own. */
export function createS3Connections({
  connections,
  connectMs,
  answerMs,
}: {
  /** To one host. */
  readonly connections: number
  readonly connectMs: number
  readonly answerMs: number
}): UndiciHttpHandler {
  const agent = new Agent({
    connections,
    connect: { timeout: connectMs },
    // counted from the first byte that is sent: a part on a slow line takes long before there can be an answer
    headersTimeout: answerMs,
    bodyTimeout: answerMs,
    keepAliveTimeout: keepAliveMs,
    allowH2: false,
  })
  // undici closes the connection after each HEAD, for the sake of servers that send a body to it; S3 does not
  const dispatcher = agent.compose(
    (dispatch) => (request, handler) =>
      dispatch(request.method === 'HEAD' ? { ...request, reset: false } : request, handler),
  )
  return new UndiciHttpHandler({ dispatcher })
}

const keepAliveMs = 10_000
