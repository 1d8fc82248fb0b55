import { expect, it } from 'vitest'
import { observeSlice, urlsOf } from '../../../operator/proxies/endpoints.ts'

const metadata = { namespace: 'headwater-system', name: 's', uid: 'u', resourceVersion: '1' }
const ports = [
  { name: 'registry', port: 5050 },
  { name: 'internal', port: 5053 },
]
const slice = (endpoints: unknown, more: object = {}) =>
  urlsOf([observeSlice({ metadata, addressType: 'IPv4', ports, endpoints, ...more })])

it.each<[string, unknown, object, string[]]>([
  [
    'one that is ready',
    [{ addresses: ['10.0.0.1'], conditions: { ready: true } }],
    {},
    ['http://10.0.0.1:5053'],
  ],
  ['one of which that is not said', [{ addresses: ['10.0.0.1'] }], {}, ['http://10.0.0.1:5053']],
  ['one that is not ready', [{ addresses: ['10.0.0.1'], conditions: { ready: false } }], {}, []],
  [
    'one that is ending',
    [{ addresses: ['10.0.0.1'], conditions: { ready: true, terminating: true } }],
    {},
    [],
  ],
  ['one with several addresses', [{ addresses: ['10.0.0.1', '10.0.0.2'] }], {}, ['http://10.0.0.1:5053']],
  ['one of IPv6', [{ addresses: ['fd00::1'] }], { addressType: 'IPv6' }, ['http://[fd00::1]:5053']],
  ['a name', [{ addresses: ['example.com'] }], { addressType: 'FQDN' }, []],
  ['a port without a name', [{ addresses: ['10.0.0.1'] }], { ports: [{ port: 7 }] }, ['http://10.0.0.1:7']],
  ['no port', [{ addresses: ['10.0.0.1'] }], { ports: [] }, []],
  ['other ports alone', [{ addresses: ['10.0.0.1'] }], { ports: [ports[0], { name: 'x', port: 1 }] }, []],
  ['no endpoints', undefined, {}, []],
])('of %s', (_name, endpoints, more, urls) => {
  expect(slice(endpoints, more)).toEqual(urls)
})

it('takes an endpoint once that is in two slices', () => {
  const one = observeSlice({ metadata, addressType: 'IPv4', ports, endpoints: [{ addresses: ['10.0.0.2'] }] })
  const two = observeSlice({
    ...{ metadata, addressType: 'IPv4', ports },
    endpoints: [{ addresses: ['10.0.0.2'] }, { addresses: ['10.0.0.1'] }],
  })
  expect(urlsOf([one, two])).toEqual(['http://10.0.0.1:5053', 'http://10.0.0.2:5053'])
})

it('takes a pod of a Service of both families once, by IPv4 where it has that', () => {
  const of = (addressType: string, ...endpoints: [string, string | undefined][]) =>
    observeSlice({
      ...{ metadata, addressType, ports },
      endpoints: endpoints.map(([address, uid]) => ({
        addresses: [address],
        ...(uid && { targetRef: { kind: 'Pod', uid } }),
      })),
    })
  const six = of('IPv6', ['fd00::1', 'pod-1'], ['fd00::2', 'pod-2'], ['fd00::3', undefined])
  const four = of('IPv4', ['10.0.0.1', 'pod-1'], ['10.0.0.4', 'pod-4'])
  const urls = [
    'http://10.0.0.1:5053',
    'http://10.0.0.4:5053',
    'http://[fd00::2]:5053',
    'http://[fd00::3]:5053',
  ]
  expect(urlsOf([six, four])).toEqual(urls)
  expect(urlsOf([four, six])).toEqual(urls)
})
