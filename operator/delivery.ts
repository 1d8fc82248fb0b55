import type { Verdict } from './runtime/conditions.ts'

/** What is known of how far documents got and how upstreams do: the proxies say it. */
export interface Delivery {
  /** Whether the proxies serve this revision; `key` is `<namespace>/<name>`. */
  programmed(kind: 'Upstream' | 'VirtualRegistry', key: string, revision: string): Verdict
  /** Undefined while no proxy has spoken of it. */
  health(upstreamKey: string): UpstreamHealth | undefined
}

export interface UpstreamHealth {
  readonly reachable: Verdict
  readonly credentialsValid: Verdict
}

/** For an installation whose proxies are not asked: what is written is all that is known. */
export const unasked: Delivery = {
  programmed: () => ({
    status: 'True',
    reason: 'Written',
    message:
      'the proxies are given it; they are not asked, as neither --proxy-service nor --proxy-endpoint is set',
  }),
  health: () => undefined,
}
