import type { CacheCount } from '../proxy/routes.ts'
import type { Verdict } from './runtime/conditions.ts'

export type Delivered = 'Upstream' | 'VirtualRegistry'

/** What is known of how far documents got and how upstreams do: the proxies say it. Keys are `<namespace>/<name>`. */
export interface Delivery {
  /**
   * Whether the proxies serve this revision. What was said before, where it was that they do, stays: proxies come and go,
   * and none begins to serve with anything older.
   */
  programmed(kind: Delivered, key: string, revision: string, before: Verdict | undefined): Verdict
  /** Undefined when it is not for the proxies to say. */
  health(upstreamKey: string, used: UsedDocument): UpstreamHealth | undefined
  /** Undefined while no proxy has counted it. */
  cache(upstreamKey: string): CacheCount | undefined
  /** Of what is gone nothing needs to be kept. */
  forget(kind: Delivered, key: string): void
  /** Told of what may be another now. */
  onChange(listener: (kind: Delivered, key: string) => void): void
}

/** What a word about an upstream must be about. */
export interface UsedDocument {
  readonly id: string
  readonly revision: string
}

/** Each undefined while no proxy has spoken of it. */
export interface UpstreamHealth {
  readonly reachable: Verdict | undefined
  readonly credentialsValid: Verdict | undefined
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
  cache: () => undefined,
  forget: () => {},
  onChange: () => {},
}
