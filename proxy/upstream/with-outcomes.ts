import type { UpstreamRoute } from '../routes.ts'
import type { UpstreamClient, UpstreamRequest } from './client.ts'
import { BusyError, UpstreamError } from './errors.ts'

/** Told of each question that was put to an upstream: with the trouble there was, or undefined when it was answered. */
export type TellOutcome = (upstream: UpstreamRoute, trouble: UpstreamError | undefined) => void

/** The same client; what nobody waited for any more, or found no place to be asked, says nothing of the upstream. */
export function withOutcomes(client: UpstreamClient, tell: TellOutcome): UpstreamClient {
  return {
    ...client,
    async request(request) {
      try {
        const answer = await client.request(request)
        tell(request.upstream, undefined)
        return answer
      } catch (error) {
        if (error instanceof UpstreamError && !(error instanceof BusyError) && !wasGivenUp(request))
          tell(request.upstream, error)
        throw error
      }
    },
  }
}

function wasGivenUp({ signal }: UpstreamRequest): boolean {
  return signal?.aborted === true && (signal.reason as Error | undefined)?.name !== 'TimeoutError'
}
