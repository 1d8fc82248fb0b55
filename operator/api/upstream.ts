import { z } from 'zod'
import { apiVersion, atomicList, dataKey, LocalObjectRef, Metadata, objectName, withRule } from './object.ts'
import { hostAndPortPattern, repositoryPattern, urlPattern } from './patterns.ts'

const hostAndPort = z.string().max(255).regex(hostAndPortPattern, {
  error: 'expected a host, with its port where it has one, such as auth.example.com',
})

const CertificateRef = z.object({
  kind: z
    .enum(['ConfigMap', 'Secret'])
    .default('ConfigMap')
    .meta({ description: 'Kind of the object that holds the certificates.' }),
  name: objectName.meta({ description: 'Name of the object, in the same namespace.' }),
  key: dataKey.default('ca.crt').meta({ description: 'Key of the certificates in it, as PEM.' }),
})

const UpstreamTls = z.object({
  caCertificateRef: CertificateRef.optional().meta({
    description: 'Certificate authorities to trust for this upstream, in place of those of the system.',
  }),
  clientCertificateSecretRef: LocalObjectRef.optional().meta({
    description: 'Secret of type kubernetes.io/tls with the client certificate to show.',
  }),
})

const Revalidation = z.object({
  policy: z.enum(['AfterValidity', 'Always', 'Never']).default('AfterValidity').meta({
    description:
      'When a cached tag is compared with the upstream: after its validity, at every pull, or never.',
  }),
  validitySeconds: z
    .int32()
    .min(1, {
      error: 'expected at least 1; to check at every pull or at none, say Always or Never in policy',
    })
    .default(86400)
    .meta({ description: 'How long a cached tag is served without asking, with the policy AfterValidity.' }),
})

export const UpstreamSpec = withRule(
  z
    .object({
      url: z
        .string()
        .max(255)
        .regex(urlPattern, { error: ({ input }) => explainUrl(input) })
        .meta({
          description: 'Address of the registry. A "/" or "/v2" at the end is dropped.',
        }),
      credentialsSecretRef: LocalObjectRef.optional().meta({
        description:
          'Secret of type kubernetes.io/dockerconfigjson or kubernetes.io/basic-auth; without it, pulls are anonymous.',
      }),
      tls: UpstreamTls.optional().meta({ description: 'Trust and client certificate for https.' }),
      revalidation: Revalidation.prefault({}).meta({
        description: 'When a cached tag is compared with the upstream.',
      }),
      defaultRepositoryPrefix: z
        .string()
        .max(128)
        .regex(repositoryPattern, { error: 'expected components of a repository name, such as library' })
        .optional()
        .meta({
          description: 'Put before names of one component; without it, names go upstream unchanged.',
        }),
      tokenServiceHosts: z
        .array(hostAndPort.meta({ description: 'A host, with its port where it is not 443.' }))
        .max(20)
        .default([])
        .meta({
          ...atomicList,
          description:
            "Hosts a token may be asked from, besides the upstream's own host and registrable domain.",
        }),
      mirrorOf: z
        .array(hostAndPort.meta({ description: 'A host, with its port where it has one.' }))
        .max(20)
        .default([])
        .meta({ ...atomicList, description: 'Further registries whose images this upstream has, for ?ns=.' }),
      mode: z
        .enum(['Active', 'CacheOnly'])
        .default('Active')
        .meta({ description: 'CacheOnly: only what is cached is served, no request goes to the upstream.' }),
    })
    .meta({ description: 'What the upstream is and how it is used.' }),
  {
    rule: "!has(self.tls) || self.url.lowerAscii().startsWith('https://')",
    message: 'tls needs a url with https://',
  },
  ({ tls, url }) => tls === undefined || url.toLowerCase().startsWith('https://'),
)

export const Upstream = z.object({
  apiVersion: z.literal(apiVersion).meta({ description: 'Group and version.' }),
  kind: z.literal('Upstream').meta({ description: 'Kind.' }),
  metadata: Metadata.meta({ description: 'Name, namespace, labels and annotations.' }),
  spec: UpstreamSpec,
})
export type Upstream = Readonly<z.infer<typeof Upstream>>

/** Says which rule a text breaks without repeating it: it may hold a password. */
function explainUrl(input: unknown): string {
  const text = String(input)
  if (!/^https?:\/\//i.test(text)) return 'expected an address with http:// or https://'
  const authority = text.replace(/^\w+:\/\//, '').split(/[/?#]/)[0] ?? ''
  if (authority.includes('@')) return 'no user name or password in the address; use credentialsSecretRef'
  if (text.includes('?')) return 'no query in the address'
  if (text.includes('#')) return 'no fragment in the address'
  return 'expected http:// or https://, a host, and perhaps a port and a path of plain characters'
}
