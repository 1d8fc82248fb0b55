/** What one replica does next about a blob that all of them need. */
export interface SharingEvent {
  readonly digest: string
  /**
   * - `leads`: asks the upstream, for all
   * - `follows`: reads from the replica at `leader`
   * - `takes-over`: leads in place of the one at `leader`
   * - `goes-apart`: asks the upstream for all who cannot reach the one at `leader`, which goes on
   * - `goes-alone`: asks the upstream without a lease, for nobody can say who leads
   * - `hands-over`: no longer asks the upstream, for another does or did; `leader` is that one, where it still does
   */
  readonly step: 'leads' | 'follows' | 'takes-over' | 'goes-apart' | 'goes-alone' | 'hands-over'
  readonly leader: string | undefined
  /** What was seen of the one followed so far. */
  readonly seen: 'lost' | 'silent' | undefined
  /** The same in words, for logs. */
  readonly trouble: string | undefined
}

/**
 * What the parts tell as they work; `proxy/metrics.ts` turns it into series. Names of upstreams and registries are
 * `<namespace>/<name>`: bounded by the configuration, never by what clients ask.
 */
export interface Observer {
  /** One request left for an upstream and was answered, or failed (`status` is then the kind of UpstreamError). */
  upstreamRequest(event: {
    upstream: string
    method: string
    status: number | string
    durationMs: number
  }): void
  /** Body bytes that came out of the upstream's socket. */
  upstreamBytes(upstream: string, bytes: number): void
  fillStarted(source: 'upstream' | 'direct'): void
  fillEnded(source: 'upstream' | 'direct', result: 'committed' | 'failed' | 'abandoned'): void
  fillResumed(upstream: string): void
  sharing(event: SharingEvent): void
  digestMismatch(upstream: string): void
  breaker(upstream: string, state: 'closed' | 'open' | 'half-open'): void
  /** Bytes now on disk in unfinished fills. */
  spoolBytes(bytes: number): void
  storedBytes(bytes: number): void
  evicted(bytes: number): void
  /** A write to the cache failed after the client had its answer; nothing was lost but the caching. */
  storeFailure(operation: string, error: unknown): void
}
