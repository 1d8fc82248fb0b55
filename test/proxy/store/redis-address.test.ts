import { expect, it } from 'vitest'
import { parseRedisAddress } from '../../../proxy/store/redis-address.ts'

const plain = {
  kind: 'single',
  nodes: [{ host: 'h', port: 6379 }],
  username: undefined,
  password: undefined,
  tls: false,
  master: undefined,
  database: 0,
}

it.each([
  ['redis://h', plain],
  ['redis://h/', plain],
  ['redis://h:7000/3', { ...plain, nodes: [{ host: 'h', port: 7000 }], database: 3 }],
  ['rediss://h', { ...plain, tls: true }],
  ['redis://:p%40ss@h', { ...plain, password: 'p@ss' }],
  ['redis://p@h', { ...plain, password: 'p' }],
  ['redis://u:p:q@h', { ...plain, username: 'u', password: 'p:q' }],
  ['redis://[::1]:7000', { ...plain, nodes: [{ host: '::1', port: 7000 }] }],
  [
    'rediss-cluster://u:p@a,b:7001',
    {
      ...{ ...plain, kind: 'cluster', tls: true, username: 'u', password: 'p' },
      nodes: [
        { host: 'a', port: 6379 },
        { host: 'b', port: 7001 },
      ],
    },
  ],
  [
    'redis-sentinel://a,b:7/main/2',
    {
      ...{ ...plain, kind: 'sentinel', master: 'main', database: 2 },
      nodes: [
        { host: 'a', port: 26379 },
        { host: 'b', port: 7 },
      ],
    },
  ],
])('reads %j', (text, address) => {
  expect(parseRedisAddress(text)).toEqual(address)
})

it.each([
  '',
  'h:6379',
  'http://h',
  'redis://',
  'redis://a,b',
  'redis://h:0',
  'redis://h:70000',
  'redis://h/x',
  'redis://h?tls=1',
  'redis://u:%zz@h',
  'redis-sentinel://h',
  'redis-sentinel://h/',
  'redis-cluster://h/1',
  'redis://h h',
])('refuses %j', (text) => {
  expect(parseRedisAddress(text)).toBeUndefined()
})
