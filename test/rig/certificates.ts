import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { needPart } from './parts.ts'
import { mustRun } from './process.ts'

export interface KeyPair {
  /** PEM texts and the files they are in. */
  readonly key: string
  readonly cert: string
  readonly keyFile: string
  readonly certFile: string
}

export interface CertificateAuthority {
  readonly ca: string
  readonly caFile: string
  issue(options?: {
    /** Names and addresses it is good for. */
    hosts?: readonly string[]
    commonName?: string
    /** Its time is over. */
    expired?: boolean
  }): Promise<KeyPair>
}

/** A certificate authority of its own, by openssl, in a temporary folder. */
export async function createCertificateAuthority(): Promise<CertificateAuthority> {
  const openssl = needPart('openssl')
  const folder = await mkdtemp(join(tmpdir(), 'headwater-ca-'))
  const at = (name: string) => join(folder, name)
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  await mustRun(openssl, [
    ...['req', '-x509', ...newKey, '-keyout', at('ca.key'), '-out', at('ca.crt'), '-days', '30'],
    ...['-subj', '/CN=Headwater test CA', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
  ])
  await writeFile(at('index'), '')
  await writeFile(at('ca.cnf'), configuration(folder))
  let issued = 0
  /** `openssl ca` exchanges its list of what it signed, and two at once take it from under each other. */
  let signed: Promise<unknown> = Promise.resolve()

  return {
    ca: await readFile(at('ca.crt'), 'utf8'),
    caFile: at('ca.crt'),
    async issue({
      hosts = ['127.0.0.1', 'localhost'],
      commonName = hosts[0] ?? 'nobody',
      expired = false,
    } = {}) {
      const name = `${++issued}`
      const keyFile = at(`${name}.key`)
      const certFile = at(`${name}.crt`)
      const names = hosts.map((host) => (/^[\d.]+$|:/.test(host) ? `IP:${host}` : `DNS:${host}`))
      await mustRun(openssl, [
        ...[
          'req',
          '-new',
          ...newKey,
          '-keyout',
          keyFile,
          '-out',
          at(`${name}.csr`),
          '-subj',
          `/CN=${commonName}`,
        ],
        ...['-addext', `subjectAltName=${names.join(',')}`],
      ])
      const dates = expired ? ['20200101000000Z', '20200102000000Z'] : ['20200101000000Z', '20491231000000Z']
      const sign = () =>
        mustRun(openssl, [
          ...['ca', '-batch', '-notext', '-config', at('ca.cnf'), '-in', at(`${name}.csr`), '-out', certFile],
          ...['-startdate', dates[0]!, '-enddate', dates[1]!],
        ])
      const signing = signed.then(sign)
      signed = signing.catch(() => {})
      await signing
      const [key, cert] = await Promise.all([readFile(keyFile, 'utf8'), readFile(certFile, 'utf8')])
      return { key, cert, keyFile, certFile }
    },
  }
}

function configuration(folder: string): string {
  return `[ca]
default_ca = here
[here]
database = ${folder}/index
new_certs_dir = ${folder}
certificate = ${folder}/ca.crt
private_key = ${folder}/ca.key
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
`
}
