import type { CoordinationV1Api } from '@kubernetes/client-node'
import { isStatus, toApiError } from './api-error.ts'
import type { LeaseClient } from './leader-election.ts'

export function createLeaseClient(
  api: CoordinationV1Api,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): LeaseClient {
  return {
    async read() {
      try {
        return await api.readNamespacedLease({ namespace, name })
      } catch (caught) {
        const error = toApiError(caught)
        if (isStatus(error, 404)) return undefined
        throw error
      }
    },
    create: (spec, annotations) =>
      api
        .createNamespacedLease({ namespace, body: { metadata: { name, namespace, annotations }, spec } })
        .catch(rethrow),
    replace: (body) => api.replaceNamespacedLease({ namespace, name, body }).catch(rethrow),
  }
}

function rethrow(error: unknown): never {
  throw toApiError(error)
}
