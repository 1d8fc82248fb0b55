import { longestDocument, type RegistryRoute } from '../../proxy/routes.ts'
import { formatField } from '../api/parse.ts'
import type { VirtualRegistry, VirtualRegistryStatus } from '../api/virtual-registry.ts'
import type { Seen } from '../observed.ts'
import type { Verdict } from '../runtime/conditions.ts'
import { type CommonStatus, commonStatusOf, no, notAccepted, programmedOf, yes } from '../status.ts'
import { type Claim, tellOverlap } from './claims.ts'
import { compileRegistry } from './compile.ts'
import { type Contender, type Contested, contest, isSecond, mustLetGo } from './contest.ts'
import { type Grants, mayHaveHost, mayHavePath } from './grants.ts'

/** Of an upstream that a registry names: whether it is there, and why it cannot be asked. */
export type UpstreamState =
  | { readonly isThere: false }
  | {
      readonly isThere: true
      readonly unusable: { readonly reason: string; readonly message: string } | undefined
    }

/** Everything the decision depends on, read before it is made. */
export interface ObservedRegistry {
  readonly registry: Seen<VirtualRegistry>
  /** Of its own namespace, and no other. */
  upstream(name: string): UpstreamState
  /** What the proxies have now. */
  readonly previous: RegistryRoute | undefined
  /** What they have now where it cannot be read, as after going back to an older operator. */
  readonly unreadable?: { readonly claim: Claim | undefined } | undefined
  /** All whose paths or hosts may meet with those of this one, itself among them. */
  readonly contenders: readonly Contender[]
  /** What it would let go for, the API server does not take. */
  readonly mustStay?: boolean
  readonly grants: Grants
  /** Where the proxies are reached, scheme and host; undefined when it is not known. */
  readonly externalUrl: string | undefined
}

export interface RegistryPlan {
  /** What the proxies are to have; undefined: nothing, unless what they have is to be left as it is. */
  readonly route: RegistryRoute | undefined
  readonly isLeft: boolean
  /** What it lets go for. */
  readonly movesTo: RegistryRoute | undefined
  readonly verdicts: { readonly Accepted: Verdict; readonly ResolvedRefs: Verdict }
  readonly upstreams: VirtualRegistryStatus['upstreams']
  readonly address: Pick<VirtualRegistryStatus, 'url' | 'imagePrefixes'>
}

export function planRegistry(observed: ObservedRegistry): RegistryPlan {
  const { registry, externalUrl } = observed
  const { resource, problems } = registry
  if (resource === undefined) {
    const message = problems.map((each) => `${formatField(each.path)}: ${each.message}`).join('; ')
    const route = stillPermitted(observed)
    const isLeft = isLeftAlone(observed)
    return {
      route,
      isLeft,
      movesTo: undefined,
      verdicts: {
        Accepted: refused('InvalidSpec', message, isLeft || route !== undefined),
        ResolvedRefs: notAccepted,
      },
      upstreams: undefined,
      address: addressOf(isLeft ? observed.unreadable?.claim : route, externalUrl),
    }
  }

  const compiled = compileRegistry(resource, () => true)
  const refusal = refusalOf(compiled, observed)
  const wanted = refusal === undefined ? compiled.route : undefined
  const kept = refusal?.letsGo ? undefined : disabledWith(stillPermitted(observed), resource)
  const route = wanted ?? kept
  const isLeft =
    refusal !== undefined && !refusal.letsGo && resource.spec.serving !== 'Disabled' && isLeftAlone(observed)
  const upstreams = resource.spec.upstreams.map(({ upstreamRef }) => judge(upstreamRef.name, observed))
  return {
    route,
    isLeft,
    movesTo: refusal?.letsGo ? compiled.route : undefined,
    verdicts: {
      Accepted:
        refusal === undefined
          ? accepted
          : refused(refusal.reason, refusal.message, isLeft || route !== undefined),
      ResolvedRefs: resolvedRefs(upstreams),
    },
    upstreams: upstreams.map(({ name, unusable }) => ({
      name,
      resolved: unusable === undefined,
      ...(unusable === undefined ? {} : { reason: unusable.reason }),
    })),
    address: addressOf(isLeft ? observed.unreadable?.claim : route, externalUrl),
  }
}

export function registryStatus(
  { registry }: Pick<ObservedRegistry, 'registry'>,
  { verdicts, upstreams, address }: RegistryPlan,
  programmed: Verdict,
  now: Date,
): CommonStatus & Omit<VirtualRegistryStatus, keyof CommonStatus> {
  const Programmed = programmedOf(verdicts.Accepted, programmed)
  return {
    ...commonStatusOf(registry, { judged: { ...verdicts, Programmed } }, now),
    ...address,
    ...(upstreams === undefined ? {} : { upstreamCount: upstreams.length, upstreams }),
  }
}

/** What a registry wants for itself alone, of what it may have. */
export function wantedClaim({ resource }: Seen<VirtualRegistry>, grants: Grants): Claim | undefined {
  if (resource === undefined) return undefined
  const { route } = compileRegistry(resource, () => true)
  if (route === undefined || !isPermitted(route, grants) || sizeOf(route) > largest) return undefined
  return { path: route.path, hosts: route.hosts }
}

/** The rest is for the features and the revision beside a route. */
const largest = longestDocument - 1024
const accepted = yes('Accepted', 'the spec is valid, and its path and hosts are its own')

function refused(reason: string, message: string, isKept: boolean): Verdict {
  return no(reason, isKept ? `${message}; what was accepted before is served on` : message)
}

interface Refusal {
  readonly reason: string
  readonly message: string
  /** What was accepted before is given up, so that the others can move. */
  readonly letsGo?: boolean
}

function refusalOf(
  { route, problems }: ReturnType<typeof compileRegistry>,
  observed: ObservedRegistry,
): Refusal | undefined {
  const { registry, contenders, grants } = observed
  if (route === undefined) return problems[0]
  const notPermitted = permissionProblem(route, grants)
  if (notPermitted !== undefined) return { reason: 'PathNotPermitted', message: notPermitted }
  const size = sizeOf(route)
  if (size > largest) {
    const message = `what the proxies need of it is ${size} bytes, more than ${largest}; use fewer or shorter globs`
    return { reason: 'TooLarge', message }
  }
  const self = selfOf(observed)
  const [contested] = self === undefined ? [] : contest(self, contenders)
  if (self === undefined || contested === undefined) return undefined
  return {
    ...conflict(contested, registry.metadata.namespace),
    letsGo: !observed.mustStay && mustLetGo(self, contenders),
  }
}

function sizeOf(route: RegistryRoute): number {
  return Buffer.byteLength(JSON.stringify(route))
}

function isPermitted(
  { namespace, path, hosts }: Claim & { readonly namespace: string },
  grants: Grants,
): boolean {
  return mayHavePath(namespace, path, grants) && hosts.every((host) => mayHaveHost(namespace, host, grants))
}

function permissionProblem({ namespace, path, hosts }: RegistryRoute, grants: Grants): string | undefined {
  if (!mayHavePath(namespace, path, grants)) {
    return `the path ${path} is neither ${namespace} nor below it; use ${namespace}/…, or have it granted by the operator's --grant-path ${namespace}=${path}`
  }
  const host = hosts.find((each) => !mayHaveHost(namespace, each, grants))
  if (host === undefined) return undefined
  return `the host ${host} is not granted to ${namespace}; leave it out, or have it granted by the operator's --grant-host ${namespace}=${host}`
}

/** Whoever may see one namespace learns nothing of another. */
function conflict(contested: Contested, namespace: string): Refusal {
  const { holder } = contested
  const isOwn = holder.namespace === namespace
  const owner = isOwn ? `VirtualRegistry ${holder.name}` : 'a VirtualRegistry of another namespace'
  if ('host' in contested) {
    const message = `the host ${contested.host} is taken by ${owner}; leave it out here${isOwn ? ', or there' : ''}`
    return { reason: 'HostConflict', message }
  }
  const { path, at } = contested
  const message = isOwn
    ? `the path ${tellOverlap(path, at, owner)}; write another, or change that one`
    : `the path ${path} overlaps with the path of ${owner}; write another`
  return { reason: 'PathConflict', message }
}

/** What was accepted once is served on, unless what it stands on was taken back. */
function stillPermitted(observed: ObservedRegistry): RegistryRoute | undefined {
  const { previous, grants } = observed
  const isPrevious = previous !== undefined && isPermitted(previous, grants) && !isAtAnothers(observed)
  return isPrevious ? previous : undefined
}

function isAtAnothers(observed: ObservedRegistry): boolean {
  const self = selfOf(observed)
  return self !== undefined && isSecond(self, observed.contenders)
}

function selfOf({ registry, contenders }: ObservedRegistry): Contender | undefined {
  return contenders.find(({ uid }) => uid === registry.metadata.uid)
}

/** What cannot be read is not judged either, but for whether it may be where it is. */
function isLeftAlone(observed: ObservedRegistry): boolean {
  const { registry, unreadable, grants } = observed
  if (unreadable === undefined || isAtAnothers(observed)) return false
  const { namespace } = registry.metadata
  return unreadable.claim === undefined || isPermitted({ namespace, ...unreadable.claim }, grants)
}

/** To switch a registry off nothing else in it needs to be right. */
function disabledWith(
  route: RegistryRoute | undefined,
  { spec }: VirtualRegistry,
): RegistryRoute | undefined {
  return route !== undefined && spec.serving === 'Disabled' ? { ...route, serving: 'Disabled' } : route
}

function judge(name: string, { upstream }: ObservedRegistry) {
  const state = upstream(name)
  const { isThere } = state
  const missing = { reason: 'RefNotFound', message: 'there is no such Upstream in this namespace' }
  return { name, isThere, unusable: isThere ? state.unusable : missing }
}

function resolvedRefs(upstreams: readonly ReturnType<typeof judge>[]): Verdict {
  const bad = upstreams.filter((each) => each.unusable !== undefined)
  if (bad.length === 0) return yes('ResolvedRefs', 'every upstream is there and can be used')
  const isMissing = bad.some(({ isThere }) => !isThere)
  const message = bad.map(({ name, unusable }) => `Upstream ${name}: ${unusable!.message}`).join('; ')
  return no(isMissing ? 'RefNotFound' : 'UpstreamNotReady', message)
}

function addressOf(claim: Claim | undefined, externalUrl: string | undefined): RegistryPlan['address'] {
  if (claim === undefined) return {}
  const url = externalUrl === undefined ? undefined : new URL(`/${claim.path}`, externalUrl)
  const prefixes = [...(url === undefined ? [] : [`${url.host}/${claim.path}`]), ...claim.hosts]
  const imagePrefixes = prefixes.filter(isReadAsHost)
  return {
    ...(url === undefined ? {} : { url: url.href }),
    ...(imagePrefixes.length === 0 ? {} : { imagePrefixes }),
  }
}

/** Clients take any other first component of an image's name for one of Docker Hub's. */
function isReadAsHost(prefix: string): boolean {
  const [host = ''] = prefix.split('/')
  return /[.:]/.test(host) || host === 'localhost'
}
