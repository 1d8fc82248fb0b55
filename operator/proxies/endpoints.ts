import type { Stored } from '../runtime/object-store.ts'

/** Of an EndpointSlice, what is needed to ask the proxies behind it. */
export interface SeenSlice extends Stored {
  /** Proxies that are ready. */
  readonly proxies: readonly SeenProxy[]
}

interface SeenProxy {
  /** Of its internal listener. */
  readonly url: string
  /** By what it is the same in several slices: its pod, or its address where it is none. */
  readonly id: string
}

/** How the port of the internal listener is named in the Service; where it has one port alone, that one is taken. */
export const internalPortName = 'internal'

interface RawSlice {
  readonly metadata?: Partial<Stored['metadata']>
  readonly addressType?: string
  readonly endpoints?: readonly {
    readonly addresses?: readonly string[]
    readonly conditions?: { readonly ready?: boolean; readonly terminating?: boolean }
    readonly targetRef?: { readonly uid?: string }
  }[]
  readonly ports?: readonly { readonly name?: string; readonly port?: number }[]
}

export function observeSlice(raw: unknown): SeenSlice {
  const { metadata, addressType, endpoints, ports } = raw as RawSlice
  const { namespace = '', name = '', uid = '', resourceVersion = '' } = metadata ?? {}
  const only = ports?.length === 1 ? ports[0] : undefined
  const port = (ports?.find((each) => each.name === internalPortName) ?? only)?.port
  const ready = addressType === 'FQDN' || port === undefined ? [] : (endpoints ?? []).filter(isReady)
  return {
    metadata: { namespace, name, uid, resourceVersion },
    proxies: ready.flatMap(({ addresses, targetRef }) => {
      const address = addresses?.[0] // all addresses of one endpoint are the same proxy
      if (address === undefined) return []
      const url = urlOf(address, port!)
      return [{ url, id: targetRef?.uid ?? url }]
    }),
  }
}

/**
 * Each proxy once, in order. While slices are exchanged an endpoint may be in two of them, and a Service of both families
 * has slices for each: then it is the address of IPv4, as `0.0.0.0` listens on no other and `[::]` on both.
 */
export function urlsOf(slices: Iterable<SeenSlice>): string[] {
  const urls = new Map<string, string>()
  for (const { url, id } of [...slices].flatMap(({ proxies }) => proxies)) {
    const known = urls.get(id)
    if (known === undefined || isOfSix(known)) urls.set(id, url)
  }
  return [...new Set(urls.values())].sort()
}

/** What is not said about readiness means yes. */
function isReady({ conditions }: NonNullable<RawSlice['endpoints']>[number]): boolean {
  return conditions?.ready !== false && conditions?.terminating !== true
}

function urlOf(address: string, port: number): string {
  return address.includes(':') ? `http://[${address}]:${port}` : `http://${address}:${port}`
}

function isOfSix(url: string): boolean {
  return url.startsWith('http://[')
}
