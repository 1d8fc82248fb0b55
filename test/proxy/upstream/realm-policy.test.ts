import { expect, it } from 'vitest'
import { allowedRealm } from '../../../proxy/upstream/realm-policy.ts'

const allowed = (upstream: string, realm: string, tokenServiceHosts: string[] = []) =>
  allowedRealm(realm, { base: new URL(upstream), tokenServiceHosts })?.href

it.each([
  ['https://registry-1.docker.io', 'https://auth.docker.io/token', []],
  ['https://quay.io', 'https://quay.io/v2/auth', []],
  ['https://registry.gitlab.com', 'https://gitlab.com/jwt/auth', []],
  ['https://dhi.io', 'https://auth.docker.io/token', ['auth.docker.io']],
  ['https://dhi.io', 'https://auth.docker.io:8443/token', ['auth.docker.io:8443']],
  ['https://hub.example.com:5000', 'https://hub.example.com/token', []],
  ['https://registry.corp.local', 'https://registry.corp.local:5001/token', []],
  ['http://127.0.0.1:5000', 'http://127.0.0.1:5000/token', []],
  ['http://127.0.0.1:5000', 'http://127.0.0.1:5001/token', ['127.0.0.1:5001']],
  ['https://10.0.0.1', 'https://10.0.0.1/token', []],
  ['https://quay.io', 'HTTPS://QUAY.IO/v2/auth', []],
])('T1: lets %s send to %s', (upstream, realm, hosts) => {
  expect(allowed(upstream, realm, hosts)).toBe(new URL(realm).href)
})

it.each([
  ['https://quay.io', 'https://evil.example/token', []],
  ['https://quay.io', 'http://quay.io/token', []],
  ['https://quay.io', 'https://quay.io@evil.example/', []],
  ['https://quay.io', 'https://user:word@quay.io/', []],
  ['https://quay.io', 'https://quay.io./token', []],
  ['https://quay.io', 'https://xn--quy-ela.io/token', []],
  ['https://quay.io', 'https://notquay.io/token', []],
  ['https://quay.io', 'https://quay.io.evil.example/', []],
  ['https://quay.io', 'https://127.0.0.1/token', []],
  ['https://quay.io', 'https://2130706433/token', []],
  ['https://quay.io', 'https://[::1]/token', []],
  ['https://quay.io', 'https://169.254.169.254/token', []],
  ['https://quay.io', 'https://localhost/token', []],
  ['https://quay.io', 'file:///etc/passwd', []],
  ['https://quay.io', '/token', []],
  ['https://quay.io', '', []],
  ['https://quay.io', `https://quay.io/${'x'.repeat(3000)}`, []],
  ['https://127.0.0.1', 'https://127.0.0.1:8443/token', []],
  ['http://localhost:5000', 'http://localhost:5001/token', []],
  ['http://localhost:5000', 'http://127.0.0.1:5000/token', []],
  ['http://hub.example.com', 'http://auth.example.com/token', []],
  ['http://hub.example.com', 'http://auth.example.org/token', ['auth.example.org']],
  ['https://a.github.io', 'https://b.github.io/token', []],
  ['https://a.co.uk', 'https://b.co.uk/token', []],
  ['https://hub.team.svc.cluster.local', 'https://evil.other.svc.cluster.local/token', []],
  ['https://dhi.io', 'https://auth.docker.io:8443/token', ['auth.docker.io']],
  ['https://dhi.io', 'http://auth.docker.io/token', ['auth.docker.io']],
])('T1: does not let %s send to %s', (upstream, realm, hosts) => {
  expect(allowed(upstream, realm, hosts)).toBeUndefined()
})
