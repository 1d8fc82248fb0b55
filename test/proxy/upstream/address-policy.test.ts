import { expect, it } from 'vitest'
import { createAddressCheck } from '../../../proxy/upstream/address-policy.ts'

const open = createAddressCheck({ deny: [], allow: ['0.0.0.0/0', '::/0'] })
const cluster = createAddressCheck({
  deny: ['10.0.0.0/8', '127.0.0.0/8', 'fc00::/7', '::1'],
  allow: ['10.1.0.0/16'],
})

it.each([
  '0.0.0.0',
  '169.254.169.254',
  '169.254.0.1',
  '100.100.100.200',
  '224.0.0.1',
  '255.255.255.255',
  '::',
  'fe80::1',
  'fe80::1%eth0',
  'febf::1',
  'ff02::1',
  'fd00:ec2::254',
  '::ffff:169.254.169.254',
  '::ffff:a9fe:a9fe',
  '0:0:0:0:0:ffff:a9fe:a9fe',
  '::169.254.169.254',
  '::ffff:0:169.254.169.254',
  '64:ff9b::169.254.169.254',
  '2002:a9fe:a9fe::1',
  '2001:0:a9fe:a9fe::1',
  '2001:0:4136:e378:8000:63bf:5601:5601',
  '2001:db8::5efe:169.254.169.254',
  'not an address',
  '',
])('T18: never connects to %s, whatever is allowed', (address) => {
  expect(open(address)).toBe(false)
})

it.each([
  ['8.8.8.8', true],
  ['10.1.2.3', true],
  ['10.2.2.3', false],
  ['::ffff:10.2.2.3', false],
  ['::ffff:10.1.2.3', true],
  ['64:ff9b::10.2.2.3', false],
  ['127.0.0.1', false],
  ['::1', false],
  ['fd12::1', false],
  ['2606:4700::1', true],
  ['192.168.1.1', true],
])('T18: judges %s by the policy: %s', (address, permitted) => {
  expect(cluster(address)).toBe(permitted)
})

it.each(['10.0.0.0/x', '10.0.0.0/33', 'example.com', '', '10.0.0.0/8/8x'])(
  'refuses %j as a range',
  (range) => {
    expect(() => createAddressCheck({ deny: [range], allow: [] })).toThrow()
  },
)

it('takes up what is denied from now on, and what is not any more', () => {
  let now: readonly string[] = []
  const check = createAddressCheck({ deny: ['10.0.0.0/8'], allow: ['192.0.2.2'], denyNow: () => now })
  const permitted = () => ['10.1.2.3', '192.0.2.1', '192.0.2.2', '2001:db8::1'].filter(check)
  expect(permitted()).toEqual(['192.0.2.1', '192.0.2.2', '2001:db8::1'])
  now = ['192.0.2.1', '192.0.2.2', '2001:db8::1']
  expect(permitted()).toEqual(['192.0.2.2'])
  now = ['2001:db8::1']
  expect(permitted()).toEqual(['192.0.2.1', '192.0.2.2'])
})
