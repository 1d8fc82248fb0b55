import { z } from 'zod'
import {
  apiVersion,
  atomicList,
  isUnique,
  LocalObjectRef,
  Metadata,
  repositoryGlob,
  withRule,
} from './object.ts'
import { hostPattern, repositoryPattern } from './patterns.ts'

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
    upstreamRef: LocalObjectRef.meta({ description: 'The Upstream, in the same namespace.' }),
    repositories: UpstreamRepositories.prefault({}).meta({
      description: 'Which repositories this upstream is used for: globs over the name as sent upstream.',
    }),
    failurePolicy: z.enum(['Fail', 'Ignore']).default('Fail').meta({
      description:
        'When the upstream is in trouble and nothing is cached: fail the pull by tag, or go on to the next upstream.',
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
      .min(1)
      .max(50)
      .meta({ ...atomicList, description: 'Whom the rule is for.' }),
    verbs: z
      .array(z.enum(['Pull']).meta({ description: 'Pull: read manifests, blobs, tags and referrers.' }))
      .min(1)
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
    .max(255)
    .regex(repositoryPattern, {
      error: 'expected components of lower-case letters, digits, ".", "_" and "-", separated by "/"',
    })
    .meta({
      description: 'What users write before the repository. Default: <namespace>/<name>.',
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
          error: 'expected a host without a port, such as registry.example.com',
        })
        .meta({ description: 'A host without a port.' }),
    )
    .max(20)
    .default([])
    .meta({ ...atomicList, description: 'Hosts at whose root this registry is served, besides its path.' }),
  {
    rule: 'self.all(a, self.exists_one(b, a.lowerAscii() == b.lowerAscii()))',
    message: 'expected each host once',
  },
  (values) => isUnique(values.map((value) => value.toLowerCase())),
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

export const VirtualRegistry = z.object({
  apiVersion: z.literal(apiVersion).meta({ description: 'Group and version.' }),
  kind: z.literal('VirtualRegistry').meta({ description: 'Kind.' }),
  metadata: Metadata.meta({ description: 'Name, namespace, labels and annotations.' }),
  spec: z
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
            .meta({ ...atomicList, description: 'Without a rule, nobody may.' }),
        })
        .prefault({})
        .meta({ description: 'Who may pull.' }),
      blobDelivery: z.enum(['Proxy', 'Redirect']).default('Proxy').meta({
        description: 'Whether blobs are sent by the proxy or fetched from S3 by the client.',
      }),
      serving: z
        .enum(['Enabled', 'Disabled'])
        .default('Enabled')
        .meta({ description: 'Disabled: refused as if the registry did not exist; its cache is kept.' }),
    })
    .meta({ description: 'What the registry serves, to whom, and from where.' }),
})
export type VirtualRegistry = Readonly<z.infer<typeof VirtualRegistry>>
