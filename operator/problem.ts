/**
 * Why a resource cannot be served as it is written: a line of a person's terminal in standalone, a condition in a
 * cluster. The message is one plain sentence, the same for the same world, with no value of a Secret in it.
 */
export interface Problem {
  readonly kind: 'Upstream' | 'VirtualRegistry'
  readonly namespace: string
  readonly name: string
  readonly path: readonly (string | number)[]
  readonly reason: Reason
  readonly message: string
  /** The object of the same namespace that is not there, for RefNotFound. */
  readonly missing?: { readonly kind: 'Upstream' | 'Secret' | 'ConfigMap'; readonly name: string }
}

export type Reason =
  /** A file of certificates or a key that cannot be read, or that do not belong together. */
  | 'CertificateInvalid'
  /** The Secret has several accounts for the host. */
  | 'CredentialsAmbiguous'
  /** The Secret lacks what its type promises, or holds what cannot be sent. */
  | 'CredentialsInvalid'
  /** The host is another registry's. */
  | 'HostConflict'
  /** The Secret does not name the upstream's host. */
  | 'HostNotPermitted'
  | 'InvalidPath'
  | 'InvalidUrl'
  /** The path is, contains or lies below another registry's. */
  | 'PathConflict'
  /** Credentials for http:// to another machine, which the Secret does not allow. */
  | 'PlainHttpNotPermitted'
  /** There is no such object in the namespace, or no such key in it. */
  | 'RefNotFound'
  | 'SecretTypeNotSupported'

/** The part of a problem that the place which found it knows. */
export type Finding = Pick<Problem, 'path' | 'reason' | 'message' | 'missing'>

export function missingObject(
  path: readonly (string | number)[],
  missing: NonNullable<Problem['missing']>,
): Finding {
  const message = `there is no ${missing.kind} ${missing.name} in this namespace`
  return { path, reason: 'RefNotFound', message, missing }
}
