import { z } from 'zod'
import { commonStatus, count } from './condition.ts'
import {
  apiVersion,
  atomicList,
  atomicMap,
  isUnique,
  OwnMetadata,
  ownName,
  repositoryGlob,
  withRule,
} from './object.ts'
import { hostPattern, repositoryPattern } from './patterns.ts'

const UpstreamRef = z
  .object({ name: ownName.meta({ description: 'Name of an Upstream in the same namespace.' }) })
  .meta(atomicMap)

const UpstreamRepositories = z.object({
  include: z
    .array(repositoryGlob)
    .min(1, { error: 'expected at least one glob; leave it out for all repositories' })
    .max(50)
    .default(['**'])
    .meta({ ...atomicList, description: 'Only these are asked for.' }),
  exclude: z
    .array(repositoryGlob)
    .max(50)
    .default([])
    .meta({ ...atomicList, description: 'These are not asked for, whatever include says.' }),
})

const RegistryUpstream = z
  .object({
    upstreamRef: UpstreamRef.meta({ description: 'The Upstream, in the same namespace.' }),
    repositories: UpstreamRepositories.prefault({}).meta({
      description: 'Which repositories this upstream is used for: globs over the name as sent upstream.',
    }),
    failurePolicy: z.enum(['Fail', 'Ignore']).default('Fail').meta({
      description:
        'When the upstream is in trouble and the tag is not cached: Fail the pull, so that nobody gets the image of a lower upstream because this one was down, or Ignore it and go on to the next.',
    }),
  })
  .meta({ description: 'One upstream; its place in the list is its priority.' })

const AccessRule = z
  .object({
    subjects: z
      .array(
        z
          .object({
            type: z
              .enum(['Anonymous'], { error: 'not supported yet; expected Anonymous' })
              .meta({ description: 'Anonymous: anybody.' }),
          })
          .meta({ description: 'Who may.' }),
      )
      .min(1, { error: 'expected at least one subject, such as {type: Anonymous}' })
      .max(50)
      .meta({ ...atomicList, description: 'Whom the rule is for.' }),
    verbs: z
      .array(z.enum(['Pull']).meta({ description: 'Pull: read manifests, blobs, tags and referrers.' }))
      .min(1, { error: 'expected at least one verb: Pull' })
      .max(10)
      .meta({ ...atomicList, description: 'What they may do.' }),
    repositories: z
      .array(repositoryGlob)
      .min(1, { error: 'expected at least one glob; leave it out for all repositories' })
      .max(50)
      .default(['**'])
      .meta({
        ...atomicList,
        description: "Where: globs over the repository as the client wrote it, without the registry's path.",
      }),
  })
  .meta({ description: 'A rule; a request is allowed when any rule allows it.' })

const registryPath = withRule(
  z
    .string()
    .max(128)
    .regex(repositoryPattern, {
      error: 'expected components of lower-case letters, digits, ".", "_" and "-", separated by "/"',
    })
    .meta({
      description:
        'What users write before the repository. Default: <namespace>/<name>. The namespace itself or below it, unless the installation grants more; never the path of another registry, above or below it.',
    }),
  {
    rule: "!self.split('/').exists(component, component == 'v2')",
    message: 'no component may be "v2": clients could not tell where the repository begins',
  },
  (path) => !path.split('/').includes('v2'),
)

const hosts = withRule(
  z
    .array(
      z
        .string()
        .max(253)
        .regex(hostPattern, {
          error: 'expected a host in lower case and without a port, such as registry.example.com',
        })
        .meta({ description: 'A host, in lower case and without a port.' }),
    )
    .max(20)
    .default([])
    .meta({
      ...atomicList,
      description:
        'Hosts at whose root this registry is served, besides its path. Only by grant of the installation.',
    }),
  {
    rule: 'self.all(a, self.exists_one(b, a == b))',
    message: 'expected each host once',
  },
  isUnique,
)

const upstreams = withRule(
  z
    .array(RegistryUpstream)
    .min(1, { error: 'expected at least one upstream' })
    .max(20, { error: 'expected at most 20 upstreams' })
    .meta({ ...atomicList, description: 'Where images come from, in order of priority.' }),
  {
    rule: 'self.all(a, self.exists_one(b, a.upstreamRef.name == b.upstreamRef.name))',
    message: 'expected each upstream once',
  },
  (values) => isUnique(values.map(({ upstreamRef }) => upstreamRef.name)),
)

const VirtualRegistrySpec = z
  .object({
    upstreams,
    path: registryPath.optional(),
    hosts,
    access: z
      .object({
        rules: z
          .array(AccessRule)
          .max(50)
          .default([])
          .meta({
            ...atomicList,
            description: 'Any of them may allow a request; without a rule, nobody may.',
          }),
      })
      .prefault({})
      .meta({ description: 'Who may pull.' }),
    blobDelivery: z.enum(['Proxy', 'Redirect']).default('Proxy').meta({
      description:
        'Whether blobs are sent by the proxy (Proxy) or fetched by the client from S3, which it must be able to reach, at an address that is good for a minute (Redirect).',
    }),
    serving: z.enum(['Enabled', 'Disabled']).default('Enabled').meta({
      description: 'Disabled: refused as if the registry did not exist; its cache and its path are kept.',
    }),
  })
  .meta({ description: 'What the registry serves, to whom, and from where.' })

export const VirtualRegistry = withRule(
  z
    .object({
      apiVersion: z.literal(apiVersion),
      kind: z.literal('VirtualRegistry'),
      metadata: OwnMetadata,
      spec: VirtualRegistrySpec,
    })
    .meta({
      description:
        'An address to pull from, with an ordered list of upstreams behind it that are pulled through.',
    }),
  {
    rule: "self.metadata.name != 'v2' || has(self.spec.path)",
    message: 'a registry named "v2" needs a path, as that of its name cannot be served',
    fieldPath: '.spec.path',
  },
  ({ metadata, spec }) => metadata.name !== 'v2' || spec.path !== undefined,
)
export type VirtualRegistry = Readonly<z.infer<typeof VirtualRegistry>>

export const VirtualRegistryStatus = z.object({
  ...commonStatus,
  url: z.string().max(1024).optional().meta({
    description:
      'The address of the proxies with its path, for people and for the printer: no host of its own is in it.',
  }),
  imagePrefixes: z
    .array(
      z.string().max(1024).meta({ description: 'Host and path, to be followed by "/" and a repository.' }),
    )
    .max(21)
    .optional()
    .meta({
      ...atomicList,
      description: 'What an image is pulled by, in place of the host of its registry.',
    }),
  upstreamCount: count('How many upstreams it has.'),
  upstreams: z
    .array(
      z
        .object({
          name: z.string().max(63).meta({ description: 'Name of the Upstream.' }),
          resolved: z
            .boolean()
            .meta({ description: 'Whether it is there and can be used. If not, it keeps its place.' }),
          reason: z
            .string()
            .max(1024)
            .optional()
            .meta({ description: 'Why it cannot be used, as one word in CamelCase.' }),
        })
        .meta({ description: 'One upstream of the registry.' }),
    )
    .max(20)
    .optional()
    .meta({
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
      description: 'The upstreams in order of priority, and which of them can be used.',
    }),
})
export type VirtualRegistryStatus = Readonly<z.infer<typeof VirtualRegistryStatus>>
