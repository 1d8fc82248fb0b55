import { request } from 'node:https'
import type { SecureContextOptions } from 'node:tls'
import { afterAll, expect, it } from 'vitest'
import { createCertificateAuthority } from '../../rig/certificates.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream, fault } from '../../rig/fake-upstream.ts'

const closing: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const close of closing) await close()
})

/** The body, or the error's code. */
function ask(url: string, options: SecureContextOptions): Promise<string> {
  return new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException) => resolve(String(error.code))
    request(url, { ...options, agent: false }, (response) => {
      let text = ''
      response.on('data', (chunk) => {
        text += chunk
      })
      response.once('error', failed)
      response.once('end', () => resolve(text))
    })
      .once('error', failed)
      .end()
  })
}

describeWithParts(['openssl'], 'the fake upstream with TLS', () => {
  it('shows its certificate, counts what it sends and can reset', async () => {
    const authority = await createCertificateAuthority()
    const upstream = await createFakeUpstream({ tls: await authority.issue() })
    closing.push(upstream.close)
    const { digest } = upstream.content.putBlob('a', 'x'.repeat(100_000))
    const blob = `${upstream.url}/v2/a/blobs/${digest}`
    expect(await ask(blob, { ca: authority.ca })).toHaveLength(100_000)
    expect(upstream.bytesSent()).toBeGreaterThan(100_000)
    expect(await ask(blob, {})).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE')
    upstream.next('GET', `/v2/a/blobs/${digest}`, fault.cut(10, 'rst'))
    expect(await ask(blob, { ca: authority.ca })).toBe('ECONNRESET')
  })

  it.each([
    ['expired', { expired: true }, 'CERT_HAS_EXPIRED'],
    ['for another host', { hosts: ['registry.example.com'] }, 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ])('has a certificate that is %s', async (_what, options, code) => {
    const authority = await createCertificateAuthority()
    const upstream = await createFakeUpstream({ tls: await authority.issue(options) })
    closing.push(upstream.close)
    expect(await ask(`${upstream.url}/v2/`, { ca: authority.ca })).toBe(code)
  })

  it('asks for a client certificate of its authority', async () => {
    const authority = await createCertificateAuthority()
    const tls = {
      ...(await authority.issue()),
      ca: authority.ca,
      requestCert: true,
      rejectUnauthorized: true,
    }
    const upstream = await createFakeUpstream({ tls })
    closing.push(upstream.close)
    const client = await authority.issue({ commonName: 'puller' })
    const { key, cert } = client
    expect(await ask(`${upstream.url}/v2/`, { ca: authority.ca, key, cert })).toBe('{}')
    expect(await ask(`${upstream.url}/v2/`, { ca: authority.ca })).toMatch(/ECONNRESET|CERTIFICATE_REQUIRED/)
  })
})
