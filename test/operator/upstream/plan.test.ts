import { describe, expect, it } from 'vitest'
import type { UpstreamHealth } from '../../../operator/delivery.ts'
import type { Verdict } from '../../../operator/runtime/conditions.ts'
import { upstreamId } from '../../../operator/upstream/compile.ts'
import { planUpstream, upstreamStatus } from '../../../operator/upstream/plan.ts'
import type { UpstreamRoute } from '../../../proxy/routes.ts'
import { basicAuth, configMap, dockerConfig, lookupOf } from '../builders.ts'
import { seenUpstream } from '../seen.ts'
import { authority } from './certificates.ts'

const now = new Date('2026-11-22T06:00:00.500Z')
const url = 'https://registry.example.com'
const host = 'registry.example.com'
const login = { credentialsSecretRef: { name: 'login' } }
const good = basicAuth({ username: 'me', password: 'canary-word' }, { 'headwater.dev/registry-host': host })
const elsewhere = basicAuth(
  { username: 'me', password: 'canary-word' },
  { 'headwater.dev/registry-host': 'other' },
)
const programmed: Verdict = { status: 'True', reason: 'Programmed', message: 'served' }

function plan(
  spec: Record<string, unknown>,
  {
    objects = [],
    previous,
    health,
  }: {
    objects?: Parameters<typeof lookupOf>
    previous?: UpstreamRoute
    health?: UpstreamHealth
  } = {},
) {
  const upstream = seenUpstream(spec)
  const made = planUpstream({ upstream, lookup: lookupOf(...objects), previous, health })
  const status = upstreamStatus({ upstream }, made, programmed, now)
  const said = Object.fromEntries(
    status.conditions.map((each) => [each.type, `${each.status}/${each.reason}`]),
  )
  return { ...made, status, said }
}

const served = plan(login, { objects: [good] }).route!

describe('the plan of an Upstream', () => {
  it('has the compiled route served, and says so', () => {
    const { route, said, status, unusable } = plan(login, { objects: [good] })
    expect(route).toMatchObject({
      id: upstreamId('default', 'hub', url, 'me'),
      credentials: { username: 'me' },
    })
    expect(said).toEqual({
      Ready: 'True/Ready',
      Accepted: 'True/Accepted',
      ResolvedRefs: 'True/ResolvedRefs',
      Programmed: 'True/Programmed',
      Reachable: 'Unknown/NotReported',
      CredentialsValid: 'Unknown/NotReported',
    })
    expect(status.observedGeneration).toBe(3)
    expect(status.conditions[0]).toMatchObject({
      observedGeneration: 3,
      lastTransitionTime: '2026-11-22T06:00:00Z',
    })
    expect(unusable).toBeUndefined()
  })

  it.each<[string, Record<string, unknown>, Parameters<typeof lookupOf>, Record<string, string>, string]>([
    [
      'no Secret',
      login,
      [],
      { ResolvedRefs: 'False/RefNotFound', CredentialsValid: 'False/RefNotFound' },
      'there is no Secret login of type kubernetes.io/dockerconfigjson or kubernetes.io/basic-auth in this namespace',
    ],
    [
      'a Secret for another host',
      login,
      [elsewhere],
      { ResolvedRefs: 'False/HostNotPermitted', CredentialsValid: 'False/HostNotPermitted' },
      'names another host',
    ],
    [
      'a Secret without its host',
      login,
      [dockerConfig({ 'other.example.com': { auth: 'bWU6eA==' } })],
      { CredentialsValid: 'False/HostNotPermitted' },
      'has no entry for',
    ],
    [
      'half a Secret',
      login,
      [basicAuth({ username: 'me' }, { 'headwater.dev/registry-host': host })],
      { CredentialsValid: 'False/CredentialsInvalid' },
      'needs both',
    ],
    [
      'no ConfigMap',
      { tls: { caCertificateRef: { name: 'corp-ca' } } },
      [],
      { ResolvedRefs: 'False/RefNotFound', CredentialsValid: 'True/Anonymous' },
      'there is no ConfigMap corp-ca in this namespace',
    ],
    [
      'no certificate in it',
      { tls: { caCertificateRef: { name: 'corp-ca' } } },
      [configMap({ 'ca.crt': '' })],
      { ResolvedRefs: 'False/CertificateInvalid' },
      'holds no certificates',
    ],
    [
      'good credentials but no ConfigMap',
      { ...login, tls: { caCertificateRef: { name: 'corp-ca' } } },
      [good],
      { ResolvedRefs: 'False/RefNotFound', CredentialsValid: 'Unknown/NotTried' },
      'ConfigMap corp-ca',
    ],
    [
      'no client certificate',
      { tls: { clientCertificateSecretRef: { name: 'me' } } },
      [],
      { CredentialsValid: 'False/RefNotFound' },
      'there is no Secret me of type kubernetes.io/tls in this namespace',
    ],
    [
      'no Secret with the authority',
      { tls: { caCertificateRef: { kind: 'Secret', name: 'ca' } } },
      [],
      { ResolvedRefs: 'False/RefNotFound', CredentialsValid: 'True/Anonymous' },
      'there is no Secret ca of type kubernetes.io/tls in this namespace',
    ],
  ])(
    'keeps the cache and no secret with %s, and never goes anonymous',
    (_title, spec, objects, wanted, message) => {
      const { route, said, status, unusable } = plan(spec, { objects, previous: served })
      expect(said).toMatchObject({ ...wanted, Accepted: 'True/Accepted', Programmed: 'True/Programmed' })
      expect(said.Ready).toBe(said.ResolvedRefs)
      expect(said.Reachable).toBe('Unknown/NotTried')
      expect(status.conditions[0]!.message).toMatch(/; until that is mended only what is cached is served$/)
      expect(route).toMatchObject({
        id: served.id,
        origin: served.origin,
        problem: expect.stringContaining(message),
      })
      expect(unusable?.message).toBe(route?.problem)
      expect([route?.credentials, route?.tls]).toEqual([undefined, undefined])
      expect(JSON.stringify([route, status])).not.toContain('canary-')
    },
  )

  it('gives one that never was asked an empty cache of its own', () => {
    const { route } = plan(login)
    expect(route).toMatchObject({ url, problem: expect.stringContaining('there is no Secret') })
    expect(route?.id).toMatch(/^[a-f0-9]{64}$/)
    expect(route?.id).not.toBe(upstreamId('default', 'hub', url, 'anonymous'))
    expect(route?.id).not.toBe(served.id)
  })

  it('does not take the cache of one address for that of another', () => {
    const { route } = plan({ ...login, url: 'https://other.example.com' }, { previous: served })
    expect(route?.id).not.toBe(served.id)
    expect(route?.url).toBe('https://other.example.com')
  })

  it.each<[string, Record<string, unknown>, string]>([
    ['refused by the schema', { url: 'ftp://user:canary-word@x' }, 'InvalidSpec'],
    ['of several mistakes', { url: 'no', mode: 'Sometimes' }, 'InvalidSpec'],
    ['with an address that is none', { url: 'https://1.2.3.4.5' }, 'InvalidUrl'],
  ])('serves what was cached of a spec %s, and says what to write instead', (_title, spec, reason) => {
    const { route, said, status } = plan(spec, { previous: served })
    expect(said).toMatchObject({
      Ready: `False/${reason}`,
      Accepted: `False/${reason}`,
      ResolvedRefs: 'Unknown/NotAccepted',
      Programmed: 'Unknown/NotAccepted',
      CredentialsValid: 'Unknown/NotAccepted',
      Reachable: 'Unknown/NotAccepted',
    })
    expect(route).toEqual({
      ...route,
      id: served.id,
      url: served.url,
      problem: status.conditions[0]!.message,
    })
    expect(route?.credentials).toBeUndefined()
    expect(JSON.stringify(status)).not.toContain('canary-')
    expect(plan(spec).route).toBeUndefined()
  })

  it('refuses what is too large for a document, and keeps the cache', () => {
    const bundle = configMap({ 'ca.crt': authority.repeat(600) })
    const spec = { tls: { caCertificateRef: { name: 'corp-ca' } } }
    const { route, said } = plan(spec, { objects: [bundle] })
    expect(said).toMatchObject({ Accepted: 'False/TooLarge', Ready: 'False/TooLarge' })
    expect(route?.tls).toBeUndefined()
    expect(route?.problem).toContain('more than 261120')
  })

  it.each<[string, Record<string, unknown>, UpstreamHealth | undefined, string, string]>([
    ['anonymous', {}, undefined, 'Unknown/NotReported', 'True/Anonymous'],
    [
      'anonymous and reached',
      {},
      { reachable: programmed, credentialsValid: programmed },
      'True/Programmed',
      'True/Anonymous',
    ],
    [
      'with an account that works',
      login,
      { reachable: programmed, credentialsValid: programmed },
      'True/Programmed',
      'True/Programmed',
    ],
    ['only cached', { ...login, mode: 'CacheOnly' }, undefined, 'Unknown/CacheOnly', 'Unknown/NotReported'],
  ])('tells what the proxies say of one that is %s', (_title, spec, health, reachable, credentials) => {
    const { said } = plan(spec, { objects: [good], ...(health && { health }) })
    expect([said.Reachable, said.CredentialsValid, said.Ready]).toEqual([
      reachable,
      credentials,
      'True/Ready',
    ])
  })

  it('has an outage change no Ready, and an unwritten document change it', () => {
    const down: Verdict = { status: 'False', reason: 'Unreachable', message: 'refused' }
    const { said } = plan({}, { health: { reachable: down, credentialsValid: down } })
    expect(said).toMatchObject({ Reachable: 'False/Unreachable', Ready: 'True/Ready' })
    const upstream = seenUpstream({})
    const made = planUpstream({ upstream, lookup: lookupOf(), previous: undefined, health: undefined })
    const pending: Verdict = { status: 'False', reason: 'Pending', message: 'one lags' }
    expect(upstreamStatus({ upstream }, made, pending, now).conditions[0]).toMatchObject({
      status: 'False',
      reason: 'Pending',
    })
  })

  it('says CacheOnly of one that is not asked in any case', () => {
    const { said } = plan({ ...login, mode: 'CacheOnly' })
    expect(said).toMatchObject({ Reachable: 'Unknown/CacheOnly', ResolvedRefs: 'False/RefNotFound' })
  })

  it('keeps what else is in the status, and echoes the request to look again', () => {
    const annotations = { 'headwater.dev/reconcile-requested-at': 'x'.repeat(300) }
    const upstream = seenUpstream({}, { annotations }, { cache: { entries: 3 } })
    const made = planUpstream({ upstream, lookup: lookupOf(), previous: undefined, health: undefined })
    const status = upstreamStatus({ upstream }, made, programmed, now)
    expect(status).toMatchObject({ cache: { entries: 3 }, lastHandledReconcileAt: 'x'.repeat(253) })
  })
})
