import { call } from './call.ts'
import type { KubernetesClient } from './kubernetes-client.ts'
import type { Page, Source } from './reflector.ts'

export interface Scope {
  /** Undefined for all namespaces. */
  readonly namespace: string | undefined
}

export const group = 'headwater.dev'
export const version = 'v1alpha1'

/** One of our own kinds, by its plural. */
export function customSource(client: KubernetesClient, plural: string, { namespace }: Scope): Source {
  const path =
    namespace === undefined
      ? `/apis/${group}/${version}/${plural}`
      : `/apis/${group}/${version}/namespaces/${namespace}/${plural}`
  return {
    name: namespace === undefined ? plural : `${plural} of ${namespace}`,
    list: async ({ limit, continueToken }) => {
      const options = { group, version, plural, ...pageOptions(limit, continueToken) }
      return pageOf(
        await call(() =>
          namespace === undefined
            ? client.custom.listClusterCustomObject(options)
            : client.custom.listNamespacedCustomObject({ ...options, namespace }),
        ),
      )
    },
    watch: (options, onEvent, signal) => client.watch(path, watchQuery(options), onEvent, signal),
  }
}

/** Secrets of one type: no others are read, so that those of other programs never come here. */
export function secretSource(client: KubernetesClient, type: string, { namespace }: Scope): Source {
  const fieldSelector = `type=${type}`
  return {
    name: `secrets of type ${type}${namespace === undefined ? '' : ` of ${namespace}`}`,
    list: async ({ limit, continueToken }) => {
      const options = { fieldSelector, ...pageOptions(limit, continueToken) }
      return pageOf(
        await call(() =>
          namespace === undefined
            ? client.core.listSecretForAllNamespaces(options)
            : client.core.listNamespacedSecret({ ...options, namespace }),
        ),
      )
    },
    watch: (options, onEvent, signal) =>
      client.watch(
        corePath('secrets', namespace),
        { ...watchQuery(options), fieldSelector },
        onEvent,
        signal,
      ),
  }
}

export function configMapSource(client: KubernetesClient, { namespace }: Scope): Source {
  return {
    name: `configmaps${namespace === undefined ? '' : ` of ${namespace}`}`,
    list: async ({ limit, continueToken }) => {
      const options = pageOptions(limit, continueToken)
      return pageOf(
        await call(() =>
          namespace === undefined
            ? client.core.listConfigMapForAllNamespaces(options)
            : client.core.listNamespacedConfigMap({ ...options, namespace }),
        ),
      )
    },
    watch: (options, onEvent, signal) =>
      client.watch(corePath('configmaps', namespace), watchQuery(options), onEvent, signal),
  }
}

/** The endpoints of one Service. */
export function endpointSliceSource(
  client: KubernetesClient,
  { namespace, service }: { readonly namespace: string; readonly service: string },
): Source {
  const labelSelector = `kubernetes.io/service-name=${service}`
  const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`
  return {
    name: `endpoints of ${namespace}/${service}`,
    list: async ({ limit, continueToken }) => {
      const options = { namespace, labelSelector, ...pageOptions(limit, continueToken) }
      return pageOf(await call(() => client.discovery.listNamespacedEndpointSlice(options)))
    },
    watch: (options, onEvent, signal) =>
      client.watch(path, { ...watchQuery(options), labelSelector }, onEvent, signal),
  }
}

function corePath(plural: string, namespace: string | undefined): string {
  return namespace === undefined ? `/api/v1/${plural}` : `/api/v1/namespaces/${namespace}/${plural}`
}

function pageOptions(limit: number | undefined, continueToken: string | undefined) {
  return {
    ...(limit === undefined ? {} : { limit }),
    ...(continueToken === undefined ? {} : { _continue: continueToken }),
  }
}

function watchQuery({ resourceVersion, timeoutSeconds }: Parameters<Source['watch']>[0]) {
  return { resourceVersion, timeoutSeconds, allowWatchBookmarks: true }
}

/** Custom objects come as they are, core ones as the client's classes; of both the list looks alike. */
function pageOf(list: {
  readonly items: readonly unknown[]
  readonly metadata?: {
    readonly resourceVersion?: string
    readonly continue?: string
    readonly _continue?: string
  }
}): Page {
  const { resourceVersion = '', _continue, continue: raw } = list.metadata ?? {}
  const token = _continue ?? raw
  return { items: list.items, resourceVersion, continueToken: token === '' ? undefined : token }
}
