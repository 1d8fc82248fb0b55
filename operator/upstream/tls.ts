import { createPrivateKey, X509Certificate } from 'node:crypto'
import { type ConfigMap, type Secret, textOf } from '../api/core.ts'
import type { Upstream } from '../api/upstream.ts'
import { type Finding, missingObject, type Reason } from '../problem.ts'

export interface Tls {
  /** PEM texts, as the route takes them; undefined when there are none. */
  readonly settings:
    | { readonly ca?: string; readonly certificate?: string; readonly key?: string }
    | undefined
  /** The subject of the client certificate: an account. */
  readonly subject: string | undefined
  /** Fingerprints of the trusted authorities, in order: the same trust is the same list. */
  readonly trusted: readonly string[]
  readonly findings: readonly Finding[]
}

/** Looks up an object of the upstream's own namespace. */
export interface Lookup {
  secret(name: string): Secret | undefined
  configMap(name: string): ConfigMap | undefined
}

export function resolveTls(spec: Upstream['spec'], lookup: Lookup): Tls {
  const authorities = resolveAuthorities(spec, lookup)
  const client = resolveClient(spec, lookup)
  const settings = {
    ...(authorities.pem === undefined ? {} : { ca: authorities.pem }),
    ...(client.pair === undefined ? {} : client.pair),
  }
  return {
    settings: Object.keys(settings).length === 0 ? undefined : settings,
    subject: client.subject,
    trusted: authorities.trusted,
    findings: [authorities.finding, client.finding].filter((finding) => finding !== undefined),
  }
}

interface Authorities {
  readonly pem?: string
  readonly trusted: readonly string[]
  readonly finding?: Finding
}

function resolveAuthorities({ tls }: Upstream['spec'], lookup: Lookup): Authorities {
  const ref = tls?.caCertificateRef
  if (ref === undefined) return { trusted: [] }
  const path = ['spec', 'tls', 'caCertificateRef']
  const refuse = (reason: Reason, message: string, field: string) => ({
    trusted: [],
    finding: { path: [...path, field], reason, message },
  })

  const holder = ref.kind === 'Secret' ? lookup.secret(ref.name) : lookup.configMap(ref.name)
  if (holder === undefined) {
    return { trusted: [], finding: missingObject([...path, 'name'], { kind: ref.kind, name: ref.name }) }
  }
  const text = textOf(holder, ref.key)
  if (text === undefined) return refuse('RefNotFound', `${ref.kind} ${ref.name} has no key ${ref.key}`, 'key')
  const blocks = blocksOf(text)
  const certificates = certificatesOf(blocks)
  if (blocks === undefined || certificates === undefined) {
    return refuse(
      'CertificateInvalid',
      `${ref.key} of ${ref.kind} ${ref.name} holds no certificates in PEM`,
      'key',
    )
  }
  const fingerprints = certificates.map(({ fingerprint256 }) => fingerprint256)
  // and nothing else that is there: comments, or a key
  return { pem: `${blocks.join('\n')}\n`, trusted: [...new Set(fingerprints)].toSorted() }
}

interface Client {
  readonly pair?: { readonly certificate: string; readonly key: string }
  readonly subject?: string
  readonly finding?: Finding
}

function resolveClient({ tls }: Upstream['spec'], lookup: Lookup): Client {
  const name = tls?.clientCertificateSecretRef?.name
  if (name === undefined) return {}
  const path = ['spec', 'tls', 'clientCertificateSecretRef']
  const refuse = (reason: Reason, message: string) => ({ finding: { path, reason, message } })

  const secret = lookup.secret(name)
  if (secret === undefined) return { finding: missingObject([...path, 'name'], { kind: 'Secret', name }) }
  if (secret.type !== 'kubernetes.io/tls') {
    return refuse('SecretTypeNotSupported', `Secret ${name} has another type than kubernetes.io/tls`)
  }
  const certificate = textOf(secret, 'tls.crt')
  const key = textOf(secret, 'tls.key')
  if (certificate === undefined || key === undefined) {
    return refuse('CertificateInvalid', `Secret ${name} needs both tls.crt and tls.key`)
  }
  const [leaf] = certificatesOf(blocksOf(certificate)) ?? []
  if (leaf === undefined)
    return refuse('CertificateInvalid', `tls.crt of Secret ${name} holds no certificate in PEM`)
  const privateKey = privateKeyOf(key)
  if (privateKey === undefined) {
    return refuse('CertificateInvalid', `tls.key of Secret ${name} holds no key in PEM that is not encrypted`)
  }
  if (!leaf.checkPrivateKey(privateKey)) {
    return refuse('CertificateInvalid', `tls.crt and tls.key of Secret ${name} do not belong together`)
  }
  return { pair: { certificate, key }, subject: leaf.subject }
}

const maxCertificates = 1000

/** Undefined when there is none, too many, or one without an end. */
function blocksOf(text: string): readonly string[] | undefined {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
  const begun = text.split('-----BEGIN CERTIFICATE-----').length - 1
  const isWhole = blocks.length > 0 && blocks.length === begun && blocks.length <= maxCertificates
  return isWhole ? blocks : undefined
}

/** Undefined when one cannot be read. */
function certificatesOf(blocks: readonly string[] | undefined): X509Certificate[] | undefined {
  try {
    return blocks?.map((block) => new X509Certificate(block))
  } catch {
    return undefined
  }
}

function privateKeyOf(text: string) {
  try {
    return createPrivateKey(text)
  } catch {
    return undefined
  }
}
