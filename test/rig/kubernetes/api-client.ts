import type { IncomingMessage } from 'node:http'
import { Agent, request as send } from 'node:https'
import { text } from 'node:stream/consumers'

export interface ApiAnswer {
  readonly status: number
  /** An object, a list or a `Status`; where it is no JSON, such as that of `/readyz`, its text. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it as they like
  readonly body: any
}

/** Plain requests to an API server, over connections that are kept. */
export interface ApiClient {
  /** A patch is a merge patch unless `contentType` says otherwise. Any status is an answer; no answer throws. */
  request(method: string, path: string, body?: unknown, contentType?: string): Promise<ApiAnswer>
  close(): void
}

export const serverSideApply = 'application/apply-patch+yaml'

/** `why` is asked what to say beside it when there is no answer. */
export function createApiClient(
  { url, ca, token }: { url: string; ca: string; token: string },
  why: () => string = () => '',
): ApiClient {
  const agent = new Agent({ ca, keepAlive: true, maxSockets: 8 })
  const { hostname, port } = new URL(url)

  return {
    request(method, path, body, contentType) {
      const type = contentType ?? (method === 'PATCH' ? 'application/merge-patch+json' : 'application/json')
      const headers = { authorization: `Bearer ${token}`, 'content-type': type }
      return new Promise((resolve, reject) => {
        const sent = send({ agent, hostname, port, method, path, headers, timeout: 30_000 }, (answer) =>
          resolve(read(answer)),
        )
        sent.on('timeout', () => sent.destroy(new Error(`no answer to ${method} ${path}`)))
        sent.on('error', (error) => {
          reject(new Error(`${method} ${path}: ${error.message}\n${why()}`.trimEnd(), { cause: error }))
        })
        sent.end(body === undefined ? undefined : JSON.stringify(body))
      })
    },
    close: () => agent.destroy(),
  }
}

async function read(answer: IncomingMessage): Promise<ApiAnswer> {
  const said = await text(answer)
  const isJson = answer.headers['content-type']?.startsWith('application/json')
  return { status: answer.statusCode ?? 0, body: isJson ? JSON.parse(said) : said }
}

/** The body of an answer that must not be a refusal. */
export function mustSucceed({ status, body }: ApiAnswer): ApiAnswer['body'] {
  if (status >= 400)
    throw new Error(`the API server says ${status}: ${body?.message ?? JSON.stringify(body)}`)
  return body
}
