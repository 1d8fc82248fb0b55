import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { OciError, type OciErrorKey } from '../oci/errors.ts'
import { errorAnswer, send } from './answer.ts'

/** A body up to here is read and dropped, so that the connection may be used again. */
const maxDrainedBytes = 64 * 1024
const lingerMs = 500

/** Bodies mean nothing here. One that is long, or of unknown length, is not worth reading to its end. */
export function closeAfterLongBody(request: IncomingMessage, response: ServerResponse): void {
  if (hasLongBody(request)) response.shouldKeepAlive = false
}

function hasLongBody({ headers }: IncomingMessage): boolean {
  return (
    headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > maxDrainedBytes
  )
}

/**
 * Answers at once, before any of the body is read. With a long body the end of the response waits for a moment, or for
 * the first of the body: closing at once while the client still sends would reset the connection under the answer.
 */
export function refuse(request: IncomingMessage, response: ServerResponse, error: OciError): void {
  const answer = errorAnswer(error, request.method)
  if (!hasLongBody(request)) {
    send(response, answer)
    return
  }
  response.shouldKeepAlive = false
  response.writeHead(answer.status, answer.headers as string[])
  if (answer.body !== undefined) response.write(answer.body)
  else response.flushHeaders()

  let drained = 0
  const timer = setTimeout(end, lingerMs)
  request.on('data', (chunk: Buffer) => {
    drained += chunk.length
    if (drained > maxDrainedBytes) end()
  })
  request.once('end', end)
  response.once('close', end)

  function end(): void {
    clearTimeout(timer)
    request.pause()
    response.end()
  }
}

const parserErrors: Readonly<Record<string, OciErrorKey>> = {
  HPE_HEADER_OVERFLOW: 'HEADERS_TOO_LARGE',
  ERR_HTTP_REQUEST_TIMEOUT: 'REQUEST_TIMEOUT',
}

/**
 * Answers what could not be read as a request, or came too slowly, and closes. Nothing is written while another request
 * of the connection is being answered: it would be taken for its answer.
 */
export function answerClientError(socket: Socket, error: NodeJS.ErrnoException, isBusy: boolean): void {
  if (isBusy || !socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const failure = new OciError(parserErrors[error.code ?? ''] ?? 'REQUEST_INVALID')
  const { headers, body } = errorAnswer(failure, 'GET', ['Connection', 'close'])
  const lines = headers.flatMap((name, index) => (index % 2 === 0 ? [`${name}: ${headers[index + 1]}`] : []))
  socket.end(
    `HTTP/1.1 ${failure.status} ${reasons[failure.status] ?? 'Bad Request'}\r\n${lines.join('\r\n')}\r\n\r\n${body}`,
  )
  socket.destroySoon()
}

const reasons: Readonly<Record<number, string>> = {
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
}
