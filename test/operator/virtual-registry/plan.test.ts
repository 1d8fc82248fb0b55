import { describe, expect, it } from 'vitest'
import type { Verdict } from '../../../operator/runtime/conditions.ts'
import type { Contender } from '../../../operator/virtual-registry/contest.ts'
import { type Grants, parseHostGrant, parsePathGrant } from '../../../operator/virtual-registry/grants.ts'
import {
  type ObservedRegistry,
  planRegistry,
  registryStatus,
  type UpstreamState,
  wantedClaim,
} from '../../../operator/virtual-registry/plan.ts'
import type { RegistryRoute } from '../../../proxy/routes.ts'
import { seenRegistry } from '../seen.ts'

const now = new Date('2026-11-22T06:00:00.500Z')
const programmed: Verdict = { status: 'True', reason: 'Programmed', message: 'served' }
const usable: UpstreamState = { isThere: true, unusable: undefined }
const grants: Grants = {
  paths: [parsePathGrant('default=shared/images')!],
  hosts: [
    parseHostGrant('default=*.team.example.com')!,
    parseHostGrant('default=one.example.com')!,
    parseHostGrant('default=one')!,
  ],
}

function plan(spec: Record<string, unknown>, more: Partial<ObservedRegistry> & { metadata?: object } = {}) {
  const registry = seenRegistry(spec, more.metadata as Record<string, unknown>)
  const self: Contender = {
    ...registry.metadata,
    held: more.previous,
    wanted: wantedClaim(registry, more.grants ?? grants),
  }
  const observed: ObservedRegistry = {
    registry,
    upstream: () => usable,
    previous: undefined,
    grants,
    externalUrl: 'https://registry.example.com:8443',
    ...more,
    contenders: [self, ...(more.contenders ?? [])],
  }
  const made = planRegistry(observed)
  const status = registryStatus({ registry }, made, programmed, now)
  const said = Object.fromEntries(
    status.conditions.map((each) => [each.type, `${each.status}/${each.reason}`]),
  )
  const message = status.conditions.find(({ type }) => type === 'Accepted')!.message
  return { ...made, status, said, message }
}

const older = (name: string, path: string, more: Partial<Contender> = {}): Contender => ({
  ...{ namespace: 'default', name, uid: name, creationTimestamp: '2025-01-01T00:00:00Z', held: undefined },
  wanted: { path, hosts: [] },
  ...more,
})
const served: RegistryRoute = plan({}).route!
const none: Grants = { paths: [], hosts: [] }

describe('the plan of a VirtualRegistry', () => {
  it('has the compiled route served, and says by which prefix', () => {
    const { route, said, status } = plan({ hosts: ['a.team.example.com'] })
    expect(route).toMatchObject({ path: 'default/all', hosts: ['a.team.example.com'], serving: 'Enabled' })
    expect(said).toEqual({
      Ready: 'True/Ready',
      Accepted: 'True/Accepted',
      ResolvedRefs: 'True/ResolvedRefs',
      Programmed: 'True/Programmed',
    })
    expect(status).toMatchObject({
      observedGeneration: 3,
      url: 'https://registry.example.com:8443/default/all',
      imagePrefixes: ['registry.example.com:8443/default/all', 'a.team.example.com'],
      upstreamCount: 1,
      upstreams: [{ name: 'hub', resolved: true }],
    })
  })

  it.each([
    [{}, undefined, {}],
    [{ hosts: ['one.example.com'] }, undefined, { imagePrefixes: ['one.example.com'] }],
    // clients would pull these from Docker Hub
    [{ hosts: ['one'] }, 'http://proxies', { url: 'http://proxies/default/all' }],
    [
      {},
      'http://proxies:5050',
      { url: 'http://proxies:5050/default/all', imagePrefixes: ['proxies:5050/default/all'] },
    ],
  ])('says no more of its address than is known: %j', (spec, externalUrl, address) => {
    expect(plan(spec, { externalUrl }).address).toEqual(address)
  })

  it.each(['Team-A=shared', 'a/b=shared', 'a b=shared', '=shared', 'shared'])(
    'takes no grant to what is no namespace: %s',
    (text) => {
      expect([parsePathGrant(text), parseHostGrant(text)]).toEqual([undefined, undefined])
    },
  )

  it.each([
    ['default', 'its own namespace'],
    ['default/x/y', 'below its namespace'],
    ['shared/images', 'what was granted'],
    ['shared/images/x', 'below what was granted'],
  ])('lets it have the path %s: %s', (path) => {
    expect(plan({ path }).said.Accepted).toBe('True/Accepted')
  })

  it.each([
    ['defaults', 'begins with its name, but not as a component'],
    ['other/x', 'is that of another namespace'],
    ['shared', 'lies above what was granted'],
    ['shared/images2', 'begins with what was granted'],
  ])('does not let it have the path %s, which %s', (path) => {
    const { said, message, route } = plan({ path })
    expect(said).toMatchObject({
      Accepted: 'False/PathNotPermitted',
      Ready: 'False/PathNotPermitted',
      Programmed: 'Unknown/NotAccepted',
    })
    expect(message).toContain(`--grant-path default=${path}`)
    expect(route).toBeUndefined()
  })

  it.each(['team.example.com', 'a.b.team.example.com', 'two.example.com', 'xteam.example.com'])(
    'does not let it have the host %s, which was not granted',
    (host) => {
      const { said, message } = plan({ hosts: ['one.example.com', host] })
      expect(said.Accepted).toBe('False/PathNotPermitted')
      expect(message).toContain(`--grant-host default=${host}`)
    },
  )

  it.each([
    ['default/all', 'the path default/all is the path of VirtualRegistry first'],
    [
      'default/all/below',
      'the path default/all lies above default/all/below, the path of VirtualRegistry first',
    ],
    ['default', 'the path default/all lies below default, the path of VirtualRegistry first'],
  ])('keeps the path %s with the older', (path, wanted) => {
    const { said, message, route } = plan({}, { contenders: [older('first', path)] })
    expect(said.Accepted).toBe('False/PathConflict')
    expect(message).toBe(`${wanted}; write another, or change that one`)
    expect(route).toBeUndefined()
  })

  it('names no holder of another namespace', () => {
    const holder = older('secret-name', 'shared/images', { namespace: 'other' })
    const { message } = plan({ path: 'shared/images' }, { contenders: [holder] })
    expect(message).toBe(
      'the path shared/images overlaps with the path of a VirtualRegistry of another namespace; write another',
    )
  })

  it('keeps a host with its holder', () => {
    const holder = older('first', 'default/first', {
      wanted: { path: 'default/first', hosts: ['one.example.com'] },
    })
    const { said, message } = plan({ hosts: ['one.example.com'] }, { contenders: [holder] })
    expect([said.Accepted, message]).toEqual([
      'False/HostConflict',
      'the host one.example.com is taken by VirtualRegistry first; leave it out here, or there',
    ])
  })

  it.each<[string, Record<string, unknown>, Partial<ObservedRegistry>, string]>([
    ['refused by the schema', { upstreams: [], path: 'V2' }, {}, 'InvalidSpec'],
    ['with a path it may not have', { path: 'elsewhere' }, {}, 'PathNotPermitted'],
    [
      'with a path that is taken',
      { path: 'default/x' },
      { contenders: [older('first', 'default/x')] },
      'PathConflict',
    ],
    ['too large for a document', { upstreams: manyGlobs() }, {}, 'TooLarge'],
  ])('serves on what was accepted before a spec %s', (_title, spec, more, reason) => {
    const { route, said, message, status } = plan(spec, { ...more, previous: served })
    expect(said).toMatchObject({ Accepted: `False/${reason}`, Ready: `False/${reason}` })
    expect(route).toEqual(served)
    expect(message).toMatch(/; what was accepted before is served on$/)
    expect(status.imagePrefixes).toEqual(['registry.example.com:8443/default/all'])
    expect(plan(spec, more).route).toBeUndefined()
  })

  it('gives up what was accepted before where others, who change places with it, could not move', () => {
    const path = 'default/other'
    const other = older('other', 'default/all', { held: { path, hosts: [] } })
    const { route, said, status } = plan({ path }, { previous: served, contenders: [other] })
    expect([route, said.Accepted, status.url]).toEqual([undefined, 'False/PathConflict', undefined])
    const stays = older('other', path, { held: { path, hosts: [] } })
    expect(plan({ path }, { previous: served, contenders: [stays] }).route).toEqual(served)
    expect(
      plan({ path }, { previous: served, contenders: [{ ...other, held: undefined }] }).said.Accepted,
    ).toBe('True/Accepted')
  })

  it('does not serve on what was taken back', () => {
    const previous = { ...served, path: 'shared/images' }
    for (const spec of [{ path: 'shared/images' }, { upstreams: [] }]) {
      const { route } = plan(spec, { previous, grants: { paths: [], hosts: [] } })
      expect(route).toBeUndefined()
    }
  })

  it('is switched off even where the spec is not accepted', () => {
    const { route } = plan({ path: 'elsewhere', serving: 'Disabled' }, { previous: served })
    expect(route).toEqual({ ...served, serving: 'Disabled' })
  })

  it.each<[string, Record<string, unknown>, Partial<ObservedRegistry>, boolean]>([
    ['a spec that is refused, too', { upstreams: [] }, {}, true],
    ['a conflict', { path: 'default/x' }, { contenders: [older('first', 'default/x')] }, true],
    ['nothing wrong, which is written', {}, {}, false],
    ['a conflict, and is switched off', { path: 'elsewhere', serving: 'Disabled' }, {}, false],
    ['a spec that is refused, and a path that was taken back', { upstreams: [] }, { grants: none }, false],
  ])('leaves a document that it cannot read with %s: %j', (_title, spec, more, isLeft) => {
    const claim = { path: 'shared/images', hosts: [] }
    const made = plan(spec, { ...more, unreadable: { claim } })
    expect(made.isLeft).toBe(isLeft)
    expect(made.address.url?.endsWith(claim.path) ?? false).toBe(isLeft)
    expect(plan({ upstreams: [] }, { unreadable: { claim: undefined } }).isLeft).toBe(true)
  })

  it('needs another path where its own would have a component v2', () => {
    const { said, route } = plan({}, { metadata: { namespace: 'v2' } })
    expect([said.Accepted, route]).toEqual(['False/InvalidPath', undefined])
  })

  it('keeps the place of upstreams that are missing or cannot be asked, and says which', () => {
    const states: Record<string, UpstreamState> = {
      hub: usable,
      gone: { isThere: false },
      broken: { isThere: true, unusable: { reason: 'RefNotFound', message: 'there is no Secret x' } },
    }
    const upstreams = Object.keys(states).map((name) => ({ upstreamRef: { name } }))
    const all = plan({ upstreams }, { upstream: (name) => states[name]! })
    expect(all.route?.upstreams.map(({ name }) => name)).toEqual(['hub', 'gone', 'broken'])
    expect(all.said).toMatchObject({
      ResolvedRefs: 'False/RefNotFound',
      Accepted: 'True/Accepted',
      Programmed: 'True/Programmed',
    })
    expect(all.status.upstreams).toEqual([
      { name: 'hub', resolved: true },
      { name: 'gone', resolved: false, reason: 'RefNotFound' },
      { name: 'broken', resolved: false, reason: 'RefNotFound' },
    ])
    const one = plan({ upstreams: upstreams.slice(2) }, { upstream: () => states.broken! })
    expect(one.said.ResolvedRefs).toBe('False/UpstreamNotReady')
    expect(one.status.conditions.find(({ type }) => type === 'ResolvedRefs')!.message).toBe(
      'Upstream broken: there is no Secret x',
    )
  })

  it('has nothing to want where it may have nothing', () => {
    expect(wantedClaim(seenRegistry({ upstreams: [] }), grants)).toBeUndefined()
    expect(wantedClaim(seenRegistry({ path: 'elsewhere' }), grants)).toBeUndefined()
    expect(wantedClaim(seenRegistry({}, { namespace: 'v2' }), grants)).toBeUndefined()
    expect(wantedClaim(seenRegistry({}), grants)).toMatchObject({ path: 'default/all' })
  })

  it('takes one that is not among the contenders as alone', () => {
    const registry = seenRegistry({})
    const alone = planRegistry({
      registry,
      upstream: () => usable,
      previous: undefined,
      contenders: [],
      grants,
      externalUrl: undefined,
    })
    expect(alone.verdicts.Accepted.status).toBe('True')
  })
})

describe('grants', () => {
  it.each(['team-a', '=x', 'team-a=', 'team-a=/x', 'team-a=X'])('are not read from %j', (text) => {
    expect(parsePathGrant(text)).toBeUndefined()
  })
  it.each(['team-a', '=x.example.com', 'team-a=', 'team-a=*', 'team-a=a.*.com', 'team-a=x:5000'])(
    'of a host are not read from %j',
    (text) => {
      expect(parseHostGrant(text)).toBeUndefined()
    },
  )
})

function manyGlobs() {
  const globs = Array.from({ length: 50 }, (_, number) => `${'g'.repeat(250)}${number}`)
  return Array.from({ length: 20 }, (_, number) => ({
    upstreamRef: { name: `u${number}` },
    repositories: { include: globs, exclude: globs },
  }))
}
