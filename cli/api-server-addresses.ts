import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { setTimeout as sleepFor } from 'node:timers/promises'
import type { KubernetesClient } from '../operator/runtime/kubernetes-client.ts'

/** Where an API server can be reached, by all the ways that are known of. */
export interface ApiServerAddresses {
  /** The same list for as long as they are the same; of what cannot be asked now, what was last known. */
  now(): readonly string[]
  /** Looks again and again until the signal is aborted. */
  follow(signal: AbortSignal): Promise<void>
}

export interface ApiServerAddressesOptions {
  /** Each has some of them. `failed` is told once for each streak of failures. */
  readonly ways: readonly (() => Promise<readonly string[]>)[]
  onFailure?(error: unknown): void
  onChange?(addresses: readonly string[]): void
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>
}

const pauseMs = 5 * 60_000
const retryMs = 15_000

export function createApiServerAddresses({
  ways,
  onFailure = () => {},
  onChange = () => {},
  sleep = sleepQuietly,
}: ApiServerAddressesOptions): ApiServerAddresses {
  const known: (readonly string[])[] = ways.map(() => [])
  const isFailing = ways.map(() => false)
  let current: readonly string[] = []

  /** Whether all could be asked. */
  async function look(): Promise<boolean> {
    await Promise.all(
      ways.map(async (way, at) => {
        try {
          known[at] = await way()
          isFailing[at] = false
        } catch (error) {
          if (!isFailing[at]) onFailure(error)
          isFailing[at] = true
        }
      }),
    )
    const next = [...new Set(known.flat())].filter((address) => isIP(address) > 0).toSorted()
    if (next.join() !== current.join()) {
      current = next
      onChange(next)
    }
    return !isFailing.includes(true)
  }

  return {
    now: () => current,
    async follow(signal) {
      while (!signal.aborted) {
        const isWhole = await look()
        await sleep(isWhole ? pauseMs : retryMs, signal)
      }
    },
  }
}

/** As the kubeconfig has it: in a pod, the address of the Service. */
export async function addressesOfServer(server: string): Promise<readonly string[]> {
  const host = new URL(server).hostname.replace(/^\[|\]$/g, '')
  if (isIP(host) > 0) return [host]
  return (await lookup(host, { all: true })).map(({ address }) => address)
}

/** Those behind the Service, as API servers write them down themselves. */
export async function addressesOfEndpoints(
  client: Pick<KubernetesClient, 'discovery'>,
): Promise<readonly string[]> {
  const target = { namespace: 'default', name: 'kubernetes' }
  const slice = await client.discovery.readNamespacedEndpointSlice(target)
  return slice.endpoints?.flatMap(({ addresses }) => addresses) ?? []
}

async function sleepQuietly(ms: number, signal: AbortSignal): Promise<void> {
  await sleepFor(ms, undefined, { signal, ref: false }).catch(() => {})
}
