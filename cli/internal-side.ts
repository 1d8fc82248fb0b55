import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { createInternal } from '../proxy/http/internal.ts'
import { registerState } from '../proxy/http/state.ts'
import { createCacheCounts } from '../proxy/internal/cache-counts.ts'
import type { Chosen } from '../proxy/internal/chosen.ts'
import { createClusterAuth } from '../proxy/internal/cluster-auth.ts'
import { runProber } from '../proxy/internal/prober.ts'
import type { Served } from '../proxy/internal/served.ts'
import { createStateBoard } from '../proxy/internal/state-board.ts'
import { createUpstreamWords } from '../proxy/internal/upstream-words.ts'
import type { IndexStore } from '../proxy/store/index-store.ts'
import type { UpstreamClient } from '../proxy/upstream/client.ts'
import { UpstreamError } from '../proxy/upstream/errors.ts'
import { withOutcomes } from '../proxy/upstream/with-outcomes.ts'

export interface InternalSideOptions {
  readonly keys: readonly string[]
  /** Of this program. */
  readonly version: string
  readonly index: IndexStore
  readonly client: UpstreamClient
  /** Whether this one probes and counts, of those that share the index. */
  readonly isChosen: Chosen['isChosen']
  readonly readiness: () => { readonly isReady: boolean; readonly isDraining: boolean }
}

/** What a proxy tells the operator of itself, and finds out for that. */
export function createInternalSide(options: InternalSideOptions) {
  const { keys, version, index, isChosen, readiness } = options
  const identity = { id: `${hostname()}_${randomUUID()}`, version }
  const monotonicNow = () => performance.now()
  let served: Served = { used: [], registries: {}, upstreams: {}, problems: {} }

  const onChange = () => board.changed()
  const upstreams = () => served.used.map(({ route }) => route)
  const words = createUpstreamWords({ now: monotonicNow, onChange })
  const counts = createCacheCounts({ index, upstreams, mayCount: isChosen, onChange, now: () => new Date() })
  const board = createStateBoard(() => {
    const cache = counts.read()
    return {
      proxy: identity,
      ...readiness(),
      registries: served.registries,
      upstreams: served.upstreams,
      problems: served.problems,
      health: words.read(),
      ...(cache && { cache }),
    }
  })
  const client = withOutcomes(options.client, words.tell)
  const app = createInternal({ auth: createClusterAuth(keys), now: Date.now })
  registerState(app, board)

  return {
    /** The listener for other programs of the installation, to be listened and closed by the caller. */
    app,
    /** To be used in place of the one that was given. */
    client,
    /** What is served from now on; without it nothing that has a revision is. */
    take(next: Served | undefined): void {
      if (next === undefined) return
      served = next
      words.retain(next.used)
      board.changed()
    },
    /** Readiness may be another now. */
    changed: onChange,
    /** Probes and counts until the signal is aborted. */
    run(signal: AbortSignal): void {
      void counts.run(signal)
      const askedAt = ({ namespace, name }: { namespace: string; name: string }) =>
        words.askedAt(`${namespace}/${name}`)
      const prober = { upstreams: () => served.used, askedAt, mayProbe: isChosen, now: monotonicNow }
      void runProber({ ...prober, probe: (upstream) => probe(client, upstream, signal) }, signal)
    },
  }
}

const probeMs = 5_000

/** `GET /v2/`, which any registry answers; what comes of it is told by the client. */
async function probe(
  client: UpstreamClient,
  upstream: Parameters<UpstreamClient['request']>[0]['upstream'],
  signal: AbortSignal,
): Promise<void> {
  try {
    const asked = { upstream, method: 'GET', repository: '', resource: '' } as const
    const answer = await client.request({ ...asked, signal, firstByteMs: probeMs })
    if (answer.found) answer.body.on('error', () => {}).destroy()
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error
  }
}
