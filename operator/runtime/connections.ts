import type { KubeConfig, RequestContext } from '@kubernetes/client-node'

export interface Connections {
  /** Signs requests as the kubeconfig says, and sends them all through one pool. */
  readonly kubeConfig: KubeConfig
  /** After an error of the network: the next request makes a new pool, and reads anew whom to trust. */
  renew(): void
}

/**
 * The client makes a pool of connections, and with it a TLS handshake, for every single request; here all share one. It
 * is HTTP/1.1: a watch has a connection of its own, and is not lost with those of others.
 */
export function shareConnections(kubeConfig: KubeConfig, userAgent: string): Connections {
  let kept: ReturnType<RequestContext['getDispatcher']>
  const shared = Object.create(kubeConfig) as KubeConfig
  shared.createDispatcherOptions = (...args) => {
    const options = kubeConfig.createDispatcherOptions(...args)
    return options.type === 'agent'
      ? { ...options, connect: { ...options.connect, allowH2: false } }
      : options
  }
  // called with the right `this`: by it the options above are found
  const sign = kubeConfig.applySecurityAuthentication.bind(shared)
  shared.applySecurityAuthentication = async (request: RequestContext) => {
    await sign(request)
    request.setHeaderParam('User-Agent', userAgent)
    kept ??= request.getDispatcher()
    if (kept !== undefined) request.setDispatcher(kept)
  }
  return {
    kubeConfig: shared,
    renew() {
      kept = undefined
    },
  }
}
