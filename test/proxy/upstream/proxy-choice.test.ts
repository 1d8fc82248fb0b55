import { expect, it } from 'vitest'
import { createProxyChoice, parseProxyUrl } from '../../../proxy/upstream/proxy-choice.ts'

it.each([
  ['', 'https://quay.io/', true],
  ['', 'http://quay.io/', false],
  ['', 'https://localhost:5000/', false],
  ['', 'https://127.0.0.9/', false],
  ['', 'https://[::1]/', false],
  ['*', 'https://quay.io/', false],
  ['quay.io', 'https://quay.io/', false],
  ['quay.io', 'https://cdn.quay.io/', false],
  ['.quay.io', 'https://cdn.quay.io/', false],
  ['*.quay.io', 'https://cdn.quay.io/', false],
  ['quay.io', 'https://notquay.io/', true],
  ['QUAY.IO:443', 'https://quay.io/', false],
  ['quay.io:8443', 'https://quay.io/', true],
  ['a.test, 10.0.0.0/8 ,b.test', 'https://10.2.3.4/', false],
  ['10.0.0.0/8', 'https://11.2.3.4/', true],
  ['fd00::/8', 'https://[fd00::1]/', false],
  ['10.0.0.1', 'https://10.0.0.1/', false],
  ['10.0.0.1:8443', 'https://10.0.0.1:8443/', false],
  ['10.0.0.1:8443', 'https://10.0.0.1/', true],
  ['[fd00::1]', 'https://[fd00::1]/', false],
  ['[fd00::1]:8443', 'https://[fd00::1]:8443/', false],
  ['[fd00::1]:8443', 'https://[fd00::1]/', true],
])('NO_PROXY=%s sends %s through the proxy: %s', (noProxy, url, proxied) => {
  expect(createProxyChoice(noProxy)(new URL(url))).toBe(proxied)
})

it.each([
  [undefined, undefined],
  [' ', undefined],
  ['proxy.corp:3128', 'http://proxy.corp:3128/'],
  ['https://user:word@proxy.corp', 'https://user:word@proxy.corp/'],
])('reads HTTPS_PROXY=%s as %s', (text, url) => {
  expect(parseProxyUrl(text)).toBe(url)
})

it.each(['socks5://canary', 'http://', 'http://canary:x:y'])('refuses %s without repeating it', (text) => {
  expect(() => parseProxyUrl(text)).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining('canary') }),
  )
})
