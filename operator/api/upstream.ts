import { z } from 'zod'
import { commonStatus, count, time } from './condition.ts'
import {
  apiVersion,
  atomicList,
  atomicMap,
  dataKey,
  LocalObjectRef,
  neverRepeated,
  OwnMetadata,
  objectName,
  withRule,
} from './object.ts'
import { celPattern, hostAndPortPattern, repositoryPattern, urlPattern } from './patterns.ts'

const hostAndPort = z.string().max(255).regex(hostAndPortPattern, {
  error: 'expected a host in lower case, with its port where it has one, such as auth.example.com',
})

const CertificateRef = z
  .object({
    kind: z
      .enum(['ConfigMap', 'Secret'])
      .default('ConfigMap')
      .meta({ description: 'Kind of the object that holds the certificates: ConfigMap or Secret.' }),
    name: objectName.meta({ description: 'Name of the object, in the same namespace.' }),
    key: dataKey.default('ca.crt').meta({ description: 'Key of the certificates in it, as PEM.' }),
  })
  .meta(atomicMap)

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
      'When a cached tag is compared with the upstream: after its validity (AfterValidity), at every pull (Always), or Never.',
  }),
  validitySeconds: z
    .int32()
    .min(1, {
      error: 'expected at least 1; to check at every pull or at none, say Always or Never in policy',
    })
    .default(86400)
    .meta({ description: 'How long a cached tag is served without asking, with the policy AfterValidity.' }),
})

const userInfoPattern = /^[A-Za-z]+:\/\/[^/?#]*@/
const schemePattern = /^[hH][tT][tT][pP][sS]?:\/\//

/** What is wrong with an address, the first of these. It is never repeated, as it may hold a password. */
const urlMessages = {
  scheme: 'expected an address with http:// or https://, such as https://registry-1.docker.io',
  userInfo: 'no user name or password in the address; use credentialsSecretRef',
  query: 'no query in the address',
  fragment: 'no fragment in the address',
  other: 'expected http:// or https://, a host, and perhaps a port and a path of plain characters',
}

function explainUrl(value: unknown): string {
  const text = String(value)
  if (!schemePattern.test(text)) return urlMessages.scheme
  if (userInfoPattern.test(text)) return urlMessages.userInfo
  if (text.includes('?')) return urlMessages.query
  return text.includes('#') ? urlMessages.fragment : urlMessages.other
}

const url = withRule(
  z
    .string()
    .max(255)
    .meta({
      ...neverRepeated,
      description:
        'Address of the registry: http:// or https://, a host, perhaps a port and a path. A "/" or "/v2" at its end is dropped. Another address begins with an empty cache.',
    }),
  {
    rule: `self.matches(${celPattern(urlPattern)})`,
    message: urlMessages.other,
    messageExpression: [
      `!self.matches(${celPattern(schemePattern)}) ? '${urlMessages.scheme}'`,
      `self.matches(${celPattern(userInfoPattern)}) ? '${urlMessages.userInfo}'`,
      `self.contains('?') ? '${urlMessages.query}'`,
      `self.contains('#') ? '${urlMessages.fragment}'`,
      `'${urlMessages.other}'`,
    ].join(' : '),
  },
  (text) => urlPattern.test(text),
  explainUrl,
)

const UpstreamSpec = withRule(
  z
    .object({
      url,
      credentialsSecretRef: LocalObjectRef.optional().meta({
        description:
          'Secret with the account, of type kubernetes.io/dockerconfigjson or kubernetes.io/basic-auth; it names the host it may be sent to. Without it, pulls are anonymous.',
      }),
      tls: UpstreamTls.optional().meta({ description: 'Trust and client certificate for https://.' }),
      revalidation: Revalidation.prefault({}).meta({
        description: 'When a cached tag is compared with the upstream. What is pulled by digest never is.',
      }),
      defaultRepositoryPrefix: z
        .string()
        .max(128)
        .regex(repositoryPattern, { error: 'expected components of a repository name, such as library' })
        .optional()
        .meta({
          description:
            'Put before names of one component: with library, alpine is asked for as library/alpine. Without it, names go upstream unchanged.',
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
        .meta({
          ...atomicList,
          description:
            "Further registries whose images this upstream has: names it answers to in containerd's ?ns=, besides the host of its url.",
        }),
      mode: z.enum(['Active', 'CacheOnly']).default('Active').meta({
        description:
          'Active: asked for what is not cached or no longer fresh. CacheOnly: only what is cached is served, no request goes to the upstream.',
      }),
    })
    .meta({ description: 'What the upstream is and how it is used.' }),
  {
    rule: "!has(self.tls) || self.url.lowerAscii().startsWith('https://')",
    message: 'tls needs a url with https://; leave it out for http://',
    fieldPath: '.tls',
  },
  ({ tls, url: address }) => tls === undefined || address.toLowerCase().startsWith('https://'),
)

export const Upstream = z
  .object({
    apiVersion: z.literal(apiVersion),
    kind: z.literal('Upstream'),
    metadata: OwnMetadata,
    spec: UpstreamSpec,
  })
  .meta({
    description: 'A registry to pull from: its address, its account, and how long its tags stay fresh.',
  })
export type Upstream = Readonly<z.infer<typeof Upstream>>

export const UpstreamStatus = z.object({
  ...commonStatus,
  cache: z
    .object({
      entries: count('How many tags and manifests are cached.'),
      bytes: count(
        'How many bytes their manifests and blobs have; what several upstreams share counts for each.',
      ),
      observedTime: time('When this was counted.'),
    })
    .optional()
    .meta({ description: 'How much of the upstream is cached, as the proxies last said.' }),
})
export type UpstreamStatus = Readonly<z.infer<typeof UpstreamStatus>>
