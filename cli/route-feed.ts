import type { Served } from '../proxy/internal/served.ts'
import type { Log } from '../proxy/log.ts'
import type { Metrics } from '../proxy/metrics.ts'
import type { RouteDocuments } from '../proxy/routes.ts'

/** Where the routes of a process that serves pulls come from. */
export interface RouteFeed {
  /** What is served from the start; undefined while nothing is known, which is not the same as nothing. */
  readonly initial: RouteDocuments | undefined
  /** Of which documents that is made, where they have revisions. */
  readonly initiallyServed?: Served | undefined
  /** Whether a person at a terminal is told what is served. */
  readonly isShown: boolean
  /** Has each whole set taken that is to be served from then on, until the signal is aborted. */
  follow(
    take: (documents: RouteDocuments, served?: Served) => void,
    context: {
      readonly log: Log
      readonly metrics: Pick<Metrics, 'configReloaded'>
      readonly signal: AbortSignal
    },
  ): void
}
