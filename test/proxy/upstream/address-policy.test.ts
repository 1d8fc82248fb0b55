import { expect, it } from 'vitest'
import { createAddressCheck } from '../../../proxy/upstream/address-policy.ts'

const open = createAddressCheck({ deny: [], allow: ['0.0.0.0/0', '::/0'] })
const everything = ['0.0.0.0/0', '0.0.0.0/8', '224.0.0.0/4', '::/0', '::', 'ff00::/8']
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
])('T18: does not connect to %s, however much else is allowed', (address) => {
  expect(open(address)).toBe(false)
})

it.each(['0.0.0.0', '0.1.2.3', '224.0.0.1', '::', '::ffff:0.0.0.0', 'ff02::1'])(
  'T18: never connects to %s, even where just this is allowed',
  (address) => {
    expect(createAddressCheck({ deny: [], allow: everything })(address)).toBe(false)
  },
)

it.each([
  // what lies within what is denied opens it
  [['169.254.0.0/16'], '169.254.169.254', true],
  [['169.254.169.254/32'], '169.254.169.254', true],
  [['169.254.169.254/32'], '169.254.0.1', false],
  [['169.254.0.0/16'], '::ffff:169.254.0.1', true],
  [['169.254.0.0/16'], '64:ff9b::169.254.0.1', true],
  [['100.100.100.200/32'], '100.100.100.200', true],
  [['240.0.0.0/8'], '240.1.2.3', true],
  [['fe80::/64'], 'fe80::1%eth0', true],
  [['fd00:ec2::254/128'], 'fd00:ec2::254', true],
  // what is wider does not
  [['169.0.0.0/8'], '169.254.169.254', false],
  [['100.64.0.0/10'], '100.100.100.200', false],
  [['fd00::/8'], 'fd00:ec2::254', false],
  [['fe00::/7'], 'fe80::1', false],
  // nor of the addresses of an API server, nor of those of --deny-upstream-cidr
  [['10.96.0.0/16'], '10.96.0.1', false],
  [['10.96.0.1/32'], '10.96.0.1', true],
  [['192.0.0.0/8'], '192.0.2.9', false],
  [['192.0.2.0/24'], '192.0.2.9', true],
  [['192.0.2.8/30'], '192.0.2.9', true],
  // every rule that denies it must have its exception
  [['127.0.0.0/8'], '127.0.0.2', true],
  [['127.0.0.0/8'], '127.0.0.1', false],
  [['127.0.0.1/32'], '127.0.0.1', true],
])('T18: with %j allowed, judges %s: %s', (allow, address, permitted) => {
  const deny = ['192.0.2.0/24', '127.0.0.0/8']
  const check = createAddressCheck({ deny, allow, denyNow: () => ['10.96.0.1', '127.0.0.1'] })
  expect(check(address)).toBe(permitted)
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
