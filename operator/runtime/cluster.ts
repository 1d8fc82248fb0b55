import { PatchStrategy, setHeaderOptions } from '@kubernetes/client-node'
import { isStatus } from './api-error.ts'
import { call } from './call.ts'
import type { KubernetesClient } from './kubernetes-client.ts'
import { group, version } from './sources.ts'

/** Whose fields are whose: what is read in `managedFields` says who wrote it. */
export const fieldManagers = { documents: 'headwater-operator', status: 'headwater-operator-status' } as const

export interface ObjectRef {
  readonly kind: string
  readonly plural: string
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

export interface SecretToApply {
  readonly name: string
  readonly type: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly data: Readonly<Record<string, string>>
}

/** All that the operator writes, and the one thing it asks without watching it. Everything may be repeated. */
export interface Cluster {
  /** Resolves with the Secret as it is stored now; with `isDryRun` as it would be. */
  applySecret(secret: SecretToApply, options?: { readonly isDryRun?: boolean }): Promise<unknown>
  /** Nothing when it is gone, or was made anew since. */
  deleteSecret(secret: { readonly name: string; readonly uid: string }): Promise<void>
  /**
   * Resolves with the object as it is stored now; undefined when it is gone. Rejects with 409 where another has its name,
   * or another write came between, which nobody can tell apart: it is to be looked at again.
   */
  applyStatus(object: ObjectRef, status: unknown): Promise<unknown>
  /** Whether objects of this kind are kept: false when the definition is gone or going, and its objects with it. */
  isServed(plural: string): Promise<boolean>
}

/** A write that was not sent: somebody else may lead. */
export class NotLeadingError extends Error {
  override readonly name = 'NotLeadingError'
}

export function createCluster({
  client,
  routesNamespace: namespace,
  mayWrite,
  signal,
}: {
  readonly client: KubernetesClient
  readonly routesNamespace: string
  /** Asked right before each request that writes. */
  readonly mayWrite: () => boolean
  /** Aborted when the operator is to stop: what the API server has put off is then not waited for. */
  readonly signal?: AbortSignal
}): Cluster {
  const apply = setHeaderOptions('Content-Type', PatchStrategy.ServerSideApply)
  const write = <T>(request: () => Promise<T>) =>
    call(() => {
      if (!mayWrite()) throw new NotLeadingError('the Lease is not held')
      return request()
    }, signal)

  return {
    applySecret({ name, type, labels, annotations, data }, { isDryRun = false } = {}) {
      const body = {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name, namespace, labels, annotations },
        type,
        data,
      }
      const fieldManager = fieldManagers.documents
      const target = { namespace, name, body, fieldManager, force: true, ...(isDryRun && { dryRun: 'All' }) }
      return write(() => client.core.patchNamespacedSecret(target, apply))
    },
    async deleteSecret({ name, uid }) {
      const body = { preconditions: { uid } }
      try {
        await write(() => client.core.deleteNamespacedSecret({ namespace, name, body }))
      } catch (error) {
        if (!isStatus(error, 404, 409)) throw error
      }
    },
    async applyStatus({ kind, plural, namespace: where, name, uid }, status) {
      // with the uid it is refused where another object has the name by now
      const body = {
        apiVersion: `${group}/${version}`,
        kind,
        metadata: { name, namespace: where, uid },
        status,
      }
      const target = { group, version, plural, namespace: where, name }
      const fieldManager = fieldManagers.status
      try {
        return await write(() =>
          client.custom.patchNamespacedCustomObjectStatus(
            { ...target, body, fieldManager, force: true },
            apply,
          ),
        )
      } catch (error) {
        if (isStatus(error, 404)) return undefined
        throw error
      }
    },
    async isServed(plural) {
      try {
        const name = `${plural}.${group}`
        const found = await call(() => client.extensions.readCustomResourceDefinition({ name }), signal)
        return found.metadata?.deletionTimestamp === undefined
      } catch (error) {
        if (isStatus(error, 404)) return false
        throw error
      }
    },
  }
}
