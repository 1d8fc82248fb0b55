import {
  ApiextensionsV1Api,
  CoordinationV1Api,
  CoreV1Api,
  CustomObjectsApi,
  createConfiguration,
  DiscoveryV1Api,
  EventsV1Api,
  IsomorphicFetchHttpLibrary,
  type KubeConfig,
  ServerConfiguration,
  Watch,
  wrapHttpLibrary,
} from '@kubernetes/client-node'
import { ApiError, toApiError } from './api-error.ts'
import { shareConnections } from './connections.ts'

export interface WatchEvent {
  readonly type: string
  // biome-ignore lint/suspicious/noExplicitAny: as it came; whoever reads it parses it
  readonly object: any
}

export interface KubernetesClient {
  readonly custom: CustomObjectsApi
  readonly core: CoreV1Api
  readonly coordination: CoordinationV1Api
  readonly events: EventsV1Api
  readonly extensions: ApiextensionsV1Api
  readonly discovery: DiscoveryV1Api
  /** Resolves when the server ended the watch in order, rejects with ApiError otherwise; `signal` ends it too. */
  watch(
    path: string,
    query: Readonly<Record<string, string | number | boolean>>,
    onEvent: (event: WatchEvent) => void,
    signal: AbortSignal,
  ): Promise<void>
  /** Ends every request that is under way, and all that come later, with an ApiError. */
  close(): void
}

export interface KubernetesClientOptions {
  readonly kubeConfig: KubeConfig
  readonly userAgent: string
  /** One request was answered, or failed (`status` is then `<error>`). */
  observe?(event: { readonly method: string; readonly host: string; readonly status: string }): void
  readonly timeoutMs?: number
  /** How long a watch may be silent, bookmarks included, before it is taken for dead. They come every minute. */
  readonly silenceMs?: number
}

export function createKubernetesClient({
  kubeConfig,
  userAgent,
  observe = () => {},
  timeoutMs = 30_000,
  silenceMs = 75_000,
}: KubernetesClientOptions): KubernetesClient {
  const cluster = kubeConfig.getCurrentCluster()
  if (!cluster) throw new Error('the kubeconfig has no current cluster')
  const { host } = new URL(cluster.server)
  const http = new IsomorphicFetchHttpLibrary()
  const closing = new AbortController()
  const connections = shareConnections(kubeConfig, userAgent)
  const configuration = createConfiguration({
    baseServer: new ServerConfiguration(cluster.server, {}),
    authMethods: { default: connections.kubeConfig },
    httpApi: wrapHttpLibrary({
      async send(request) {
        request.setSignal(AbortSignal.any([closing.signal, AbortSignal.timeout(timeoutMs)]))
        const method = request.getHttpMethod().toString()
        try {
          const response = await http.send(request).toPromise()
          observe({ method, host, status: String(response.httpStatusCode) })
          return response
        } catch (error) {
          observe({ method, host, status: '<error>' })
          connections.renew()
          throw error
        }
      },
    }),
  })
  // its own 30 s are shorter than the time between two bookmarks: every quiet watch would be made anew all the time
  const watch = Object.assign(new Watch(connections.kubeConfig), { requestTimeoutMs: silenceMs })

  return {
    custom: new CustomObjectsApi(configuration),
    core: new CoreV1Api(configuration),
    coordination: new CoordinationV1Api(configuration),
    events: new EventsV1Api(configuration),
    extensions: new ApiextensionsV1Api(configuration),
    discovery: new DiscoveryV1Api(configuration),
    async watch(path, query, onEvent, signal) {
      try {
        await runWatch(watch, path, query, onEvent, AbortSignal.any([closing.signal, signal]))
      } catch (error) {
        if (error instanceof ApiError && error.status === undefined) connections.renew()
        throw error
      }
    },
    close: () => closing.abort(new ApiError(undefined, 'ECANCELED')),
  }
}

function runWatch(
  watch: Watch,
  path: string,
  query: Readonly<Record<string, string | number | boolean>>,
  onEvent: (event: WatchEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return resolve()
    let controller: AbortController | undefined
    let isOver = false
    const end = (error?: unknown) => {
      if (isOver) return
      isOver = true
      signal.removeEventListener('abort', stop)
      controller?.abort()
      if (error === undefined || error === null || signal.aborted) resolve()
      else reject(watchError(error))
    }
    const stop = () => end()
    signal.addEventListener('abort', stop, { once: true })

    const take = (type: string, object: unknown) => {
      if (isOver) return
      try {
        onEvent({ type, object })
      } catch (error) {
        end(error) // the client would swallow it
      }
    }
    watch.watch(path, query, take, end).then((made) => {
      controller = made
      if (isOver) made.abort() // ended while it was being set up
    }, end)
  })
}

function watchError(error: unknown): unknown {
  const { statusCode, message } = error as { statusCode?: number; message?: string }
  return statusCode === undefined ? toApiError(error) : new ApiError(statusCode, message ?? 'Unknown')
}
