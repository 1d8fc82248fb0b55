import { apiVersion } from '../../../operator/api/object.ts'

export interface BadObject {
  readonly title: string
  readonly kind: 'Upstream' | 'VirtualRegistry' | 'CleanupPolicy'
  readonly spec?: Readonly<Record<string, unknown>> | undefined
  readonly name?: string
  /** The field that is blamed, as the API server writes it. */
  readonly field: string
  /** What to write instead: ours, or where the API server has words for it, those. */
  readonly message: string
  /** What `serve` says, where that is not `message`. */
  readonly ours?: string
}

const url = 'https://registry.example.com'
const hub = { upstreamRef: { name: 'hub' } }
const rule = { subjects: [{ type: 'Anonymous' }], verbs: ['Pull'] }
const many = (count: number) =>
  Array.from({ length: count }, (_, at) => ({ upstreamRef: { name: `u${at}` } }))

const ofUpstream = (
  title: string,
  spec: Readonly<Record<string, unknown>>,
  field: string,
  message: string,
  ours?: string,
): BadObject => ({
  ...{ title, kind: 'Upstream', spec: { url, ...spec }, field, message },
  ...(ours === undefined ? {} : { ours }),
})
const ofRegistry = (...row: Parameters<typeof ofUpstream>): BadObject => ({
  ...ofUpstream(...row),
  kind: 'VirtualRegistry',
  spec: { upstreams: [hub], ...row[1] },
})
const ofPolicy = (...row: Parameters<typeof ofUpstream>): BadObject => ({
  ...ofUpstream(...row),
  kind: 'CleanupPolicy',
  spec: row[1],
})

const aHost = 'expected a host in lower case, with its port where it has one, such as auth.example.com'
const aGlob =
  'expected a glob over repository names: lower-case letters, digits, ".", "_", "-", "/", "*", "**", "?"'
const aName = 'expected lower-case letters, digits, "-" and "."'
const aPath = 'expected components of lower-case letters, digits, ".", "_" and "-", separated by "/"'

/** Objects that are refused where they are written, by `serve` and by an API server alike. */
export const badObjects: readonly BadObject[] = [
  {
    title: 'no spec',
    kind: 'Upstream',
    spec: undefined,
    field: 'spec',
    message: 'Required value',
    ours: 'required',
  },
  ofUpstream('no url', { url: undefined }, 'spec.url', 'Required value', 'required'),
  ofUpstream('url null', { url: null }, 'spec.url', 'Required value', 'required'),
  ofUpstream(
    ...(['url a number', { url: 5000 }, 'spec.url', 'must be of type string'] as const),
    'expected a string, found a number; put it in quotes',
  ),
  ofUpstream(
    'no scheme',
    { url: 'registry-1.docker.io' },
    'spec.url',
    'expected an address with http:// or https://, such as https://registry-1.docker.io',
  ),
  ofUpstream(
    'another scheme',
    { url: 'ftp://a' },
    'spec.url',
    'expected an address with http:// or https://',
  ),
  ofUpstream(
    'a password in the url',
    { url: 'https://me:canary-in-url@example.com' },
    'spec.url',
    'no user name or password in the address; use credentialsSecretRef',
  ),
  ofUpstream('a query', { url: `${url}?x=1` }, 'spec.url', 'no query in the address'),
  ofUpstream('a fragment', { url: `${url}/#x` }, 'spec.url', 'no fragment in the address'),
  ofUpstream('dots in the path', { url: `${url}/a/../b` }, 'spec.url', 'a path of plain characters'),
  ofUpstream('port 65536', { url: `${url}:65536` }, 'spec.url', 'perhaps a port'),
  ofUpstream('a line break', { url: `${url}\n` }, 'spec.url', 'expected http:// or https://, a host'),
  ofUpstream('letters beyond ASCII', { url: 'https://exämple.com' }, 'spec.url', 'plain characters'),
  ofUpstream(
    ...([
      'a long url',
      { url: `${url}/${'a'.repeat(255)}` },
      'spec.url',
      'may not be more than 255',
    ] as const),
    'expected at most 255 characters',
  ),
  ofUpstream(
    'tls over http',
    { url: 'http://registry.example.com', tls: {} },
    'spec.tls',
    'tls needs a url with https://; leave it out for http://',
  ),
  ofUpstream(
    'a validity of 0',
    { revalidation: { validitySeconds: 0 } },
    'spec.revalidation.validitySeconds',
    'expected at least 1; to check at every pull or at none, say Always or Never in policy',
  ),
  ofUpstream(
    'half a second',
    { revalidation: { validitySeconds: 0.5 } },
    'spec.revalidation.validitySeconds',
    'must be of type int32',
    'expected a whole number',
  ),
  ofUpstream(
    'an unknown policy',
    { revalidation: { policy: 'Sometimes' } },
    'spec.revalidation.policy',
    'supported values: "AfterValidity", "Always", "Never"',
    'expected AfterValidity, Always or Never',
  ),
  ofUpstream(
    'an unknown mode',
    { mode: 'Paused' },
    'spec.mode',
    'supported values: "Active", "CacheOnly"',
    'expected Active or CacheOnly',
  ),
  ofUpstream(
    'a Secret elsewhere',
    { credentialsSecretRef: { name: 'other/hub' } },
    'spec.credentialsSecretRef.name',
    aName,
  ),
  ofUpstream(
    'a Secret above',
    { credentialsSecretRef: { name: '..' } },
    'spec.credentialsSecretRef.name',
    aName,
  ),
  ofUpstream(
    'a Secret without a name',
    { credentialsSecretRef: { name: '' } },
    'spec.credentialsSecretRef.name',
    aName,
  ),
  ofUpstream(
    'no name of the Secret',
    { credentialsSecretRef: {} },
    'spec.credentialsSecretRef.name',
    'Required value',
    'required',
  ),
  ofUpstream(
    'a Secret as text',
    { credentialsSecretRef: 'hub' },
    'spec.credentialsSecretRef',
    'must be of type object',
    'expected an object, found a string',
  ),
  ofUpstream(
    'authorities elsewhere',
    { tls: { caCertificateRef: { name: 'other/ca' } } },
    'spec.tls.caCertificateRef.name',
    aName,
  ),
  ofUpstream(
    'authorities of another kind',
    { tls: { caCertificateRef: { kind: 'Pod', name: 'ca' } } },
    'spec.tls.caCertificateRef.kind',
    'supported values: "ConfigMap", "Secret"',
    'expected ConfigMap or Secret',
  ),
  ofUpstream(
    'a path as a key',
    { tls: { caCertificateRef: { name: 'ca', key: '../ca.crt' } } },
    'spec.tls.caCertificateRef.key',
    'expected letters, digits, "-", "_" and "."',
  ),
  ofUpstream(
    'a client certificate elsewhere',
    { tls: { clientCertificateSecretRef: { name: 'other/me' } } },
    'spec.tls.clientCertificateSecretRef.name',
    aName,
  ),
  ofUpstream(
    'a prefix with a slash at its end',
    { defaultRepositoryPrefix: 'library/' },
    'spec.defaultRepositoryPrefix',
    'expected components of a repository name, such as library',
  ),
  ofUpstream(
    'a token service as URL',
    { tokenServiceHosts: ['https://a'] },
    'spec.tokenServiceHosts[0]',
    aHost,
  ),
  ofUpstream(
    'any token service',
    { tokenServiceHosts: ['*.example.com'] },
    'spec.tokenServiceHosts[0]',
    aHost,
  ),
  ofUpstream('a host in upper case', { mirrorOf: ['Docker.io'] }, 'spec.mirrorOf[0]', aHost),
  ofUpstream(
    'too many hosts',
    { mirrorOf: Array.from({ length: 21 }, (_, at) => `a${at}`) },
    'spec.mirrorOf',
    'must have at most 20 items',
    'expected at most 20 items',
  ),

  ofRegistry('no upstreams', { upstreams: undefined }, 'spec.upstreams', 'Required value', 'required'),
  ofRegistry(
    'an empty list of upstreams',
    { upstreams: [] },
    'spec.upstreams',
    'expected at least one upstream',
  ),
  ofRegistry(
    'too many upstreams',
    { upstreams: many(21) },
    'spec.upstreams',
    'must have at most 20 items',
    'expected at most 20 upstreams',
  ),
  ofRegistry(
    'an upstream twice',
    { upstreams: [hub, ...many(2), hub] },
    'spec.upstreams',
    'expected each upstream once',
  ),
  ofRegistry(
    'an upstream as text',
    { upstreams: ['hub'] },
    'spec.upstreams[0]',
    'must be of type object',
    'expected an object, found a string',
  ),
  ofRegistry(
    'an upstream of another namespace',
    { upstreams: [{ upstreamRef: { name: 'other/hub' } }] },
    'spec.upstreams[0].upstreamRef.name',
    aName,
  ),
  ofRegistry(
    'an upstream without a name',
    { upstreams: [{ upstreamRef: {} }] },
    'spec.upstreams[0].upstreamRef.name',
    'Required value',
    'required',
  ),
  ofRegistry(
    'no upstream included',
    { upstreams: [{ ...hub, repositories: { include: [] } }] },
    'spec.upstreams[0].repositories.include',
    'expected at least one glob; leave it out for all repositories',
  ),
  ofRegistry(
    'a regular expression for a glob',
    { upstreams: [{ ...hub, repositories: { exclude: ['^library/.+$'] } }] },
    'spec.upstreams[0].repositories.exclude[0]',
    aGlob,
  ),
  ofRegistry(
    'an unknown failure policy',
    { upstreams: [{ ...hub, failurePolicy: 'Retry' }] },
    'spec.upstreams[0].failurePolicy',
    'supported values: "Fail", "Ignore"',
    'expected Fail or Ignore',
  ),
  ofRegistry('a path in upper case', { path: 'Team-A/x' }, 'spec.path', aPath),
  ofRegistry('a path from the root', { path: '/team-a' }, 'spec.path', aPath),
  ofRegistry('a path above', { path: '../team-b' }, 'spec.path', aPath),
  ofRegistry('an empty path', { path: '' }, 'spec.path', aPath),
  ofRegistry(
    'a path with v2',
    { path: 'team-a/v2' },
    'spec.path',
    'no component may be "v2": clients could not tell where the repository begins',
  ),
  ofRegistry(
    ...(['a long path', { path: 'a'.repeat(129) }, 'spec.path', 'may not be more than 128'] as const),
    'expected at most 128 characters',
  ),
  ofRegistry(
    'a host with a port',
    { hosts: ['registry.example.com:5000'] },
    'spec.hosts[0]',
    'expected a host in lower case and without a port, such as registry.example.com',
  ),
  ofRegistry(
    'a host twice',
    { hosts: ['a.example', 'b.example', 'a.example'] },
    'spec.hosts',
    'expected each host once',
  ),
  ofRegistry(
    'subjects that are not known yet',
    { access: { rules: [{ ...rule, subjects: [{ type: 'ServiceAccount' }] }] } },
    'spec.access.rules[0].subjects[0].type',
    'supported values: "Anonymous"',
    'not supported yet; expected Anonymous',
  ),
  ofRegistry(
    'a rule for nobody',
    { access: { rules: [{ ...rule, subjects: [] }] } },
    'spec.access.rules[0].subjects',
    'expected at least one subject, such as {type: Anonymous}',
  ),
  ofRegistry(
    'a rule for nothing',
    { access: { rules: [{ ...rule, verbs: [] }] } },
    'spec.access.rules[0].verbs',
    'expected at least one verb: Pull',
  ),
  ofRegistry(
    'pushing',
    { access: { rules: [{ ...rule, verbs: ['Pull', 'Push'] }] } },
    'spec.access.rules[0].verbs[1]',
    'supported values: "Pull"',
    'expected Pull',
  ),
  ofRegistry(
    'a rule for no repository',
    { access: { rules: [{ ...rule, repositories: [] }] } },
    'spec.access.rules[0].repositories',
    'expected at least one glob; leave it out for all repositories',
  ),
  ofRegistry(
    'serving as yes',
    { serving: true },
    'spec.serving',
    'must be of type string',
    'expected Enabled or Disabled',
  ),
  {
    ...ofRegistry('a name of 64 characters', {}, 'metadata.name', 'may not be more than 63'),
    name: 'a'.repeat(64),
    ours: 'expected at most 63 characters',
  },
  {
    ...ofRegistry('a name that makes no path', {}, 'spec.path', 'a registry named "v2" needs a path'),
    name: 'v2',
  },

  ofPolicy(
    'nothing kept',
    { keepAfterDownloadDays: 0 },
    'spec.keepAfterDownloadDays',
    'should be greater than or equal to 1',
    'expected at least 1',
  ),
  ofPolicy(
    'all kept for years',
    { keepAfterDownloadDays: 366 },
    'spec.keepAfterDownloadDays',
    'should be less than or equal to 365',
    'expected at most 365',
  ),
  ofPolicy(
    'a time of day without quotes',
    { schedule: { timeOfDay: 180 } },
    'spec.schedule.timeOfDay',
    'must be of type string',
    'expected a string, found a number; put it in quotes',
  ),
  ofPolicy(
    'a time of day that is none',
    { schedule: { timeOfDay: '24:00' } },
    'spec.schedule.timeOfDay',
    'expected hours and minutes in quotes, such as "03:00"',
  ),
  ofPolicy(
    'a time zone that is none',
    { schedule: { timeZone: 'Central European Time' } },
    'spec.schedule.timeZone',
    'expected a name of the time zone database, such as Etc/UTC',
  ),
  ofPolicy(
    'a cron line',
    { schedule: '0 3 * * 0' },
    'spec.schedule',
    'must be of type object',
    'expected an object, found a string',
  ),
  ofPolicy(
    'a cadence that is none',
    { schedule: { cadence: 'Hourly' } },
    'spec.schedule.cadence',
    'supported values: "Daily", "Weekly", "Monthly"',
    'expected Daily, Weekly or Monthly',
  ),
  ofPolicy(
    'a key that is no label',
    { upstreamSelector: { matchLabels: { 'a b': 'c' } } },
    'spec.upstreamSelector.matchLabels',
    'expected at most 20 keys of labels, such as team or example.com/team',
  ),
  ofPolicy(
    'a value that is no label',
    { upstreamSelector: { matchLabels: { team: 'a b' } } },
    'spec.upstreamSelector.matchLabels',
    'expected the value of a label',
  ),
  ofPolicy(
    'In without values',
    { upstreamSelector: { matchExpressions: [{ key: 'team', operator: 'In' }] } },
    'spec.upstreamSelector.matchExpressions[0].values',
    'In and NotIn need values; Exists and DoesNotExist take none',
  ),
  ofPolicy(
    'Exists with values',
    { upstreamSelector: { matchExpressions: [{ key: 'team', operator: 'Exists', values: ['a'] }] } },
    'spec.upstreamSelector.matchExpressions[0].values',
    'In and NotIn need values; Exists and DoesNotExist take none',
  ),
  ofPolicy(
    'suspend as text',
    { suspend: 'yes' },
    'spec.suspend',
    'must be of type boolean',
    'expected true or false',
  ),
]

export function objectOf(
  { kind, spec, name = 'bad' }: BadObject,
  namespace: string,
): Record<string, unknown> {
  return { apiVersion, kind, metadata: { name, namespace }, ...(spec === undefined ? {} : { spec }) }
}
