import type { Stored } from '../runtime/object-store.ts'

/** Of an EndpointSlice, what is needed to ask the proxies behind it. */
export interface SeenSlice extends Stored {
  /** Of the internal listeners of proxies that are ready. */
  readonly urls: readonly string[]
}

/** How the port of the internal listener is named in the Service; where it has one port alone, that one is taken. */
export const internalPortName = 'internal'

interface RawSlice {
  readonly metadata?: Partial<Stored['metadata']>
  readonly addressType?: string
  readonly endpoints?: readonly {
    readonly addresses?: readonly string[]
    readonly conditions?: { readonly ready?: boolean; readonly terminating?: boolean }
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
    // all addresses of one endpoint are the same proxy
    urls: ready.flatMap(({ addresses }) => addresses?.[0] ?? []).map((address) => urlOf(address, port!)),
  }
}

/** Each once, in order: while slices are exchanged an endpoint may be in two of them. */
export function urlsOf(slices: Iterable<SeenSlice>): string[] {
  return [...new Set([...slices].flatMap(({ urls }) => urls))].sort()
}

/** What is not said about readiness means yes. */
function isReady({ conditions }: NonNullable<RawSlice['endpoints']>[number]): boolean {
  return conditions?.ready !== false && conditions?.terminating !== true
}

function urlOf(address: string, port: number): string {
  return address.includes(':') ? `http://[${address}]:${port}` : `http://${address}:${port}`
}
