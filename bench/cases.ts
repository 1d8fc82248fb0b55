import type { Sample } from './sample.ts'
import type { ServerName } from './servers.ts'

/** One thing that is measured at one server. */
export interface Subject {
  readonly name: string
  readonly server: string
  /** What the answer has to be; checked before anything is timed. */
  readonly path: string
  readonly length: number
}

/** Subjects that are compared with each other: they take turns within each round. */
export interface Case {
  readonly name: string
  readonly unit: 'requests' | 'bytes'
  /** The same for each subject. */
  readonly wrk: readonly string[]
  readonly subjects: readonly Subject[]
  readonly goals: readonly Goal[]
}

/** The median over the rounds of what `of` reached as a part of what `to` reached. */
export interface Goal {
  readonly of: string
  readonly to: string
  /** Undefined where it is only reported. */
  readonly least: number | undefined
}

/** distribution has no OCI manifest for who does not ask for one. */
export const manifestType = 'application/vnd.oci.image.manifest.v1+json'

/**
 * One thread, since two cores are all that this was made on: one for the server, one for wrk. Few connections where
 * answers are large, as each costs the server a buffer and the machine's cache is small.
 */
export const lines = {
  manifest: ['-t1', '-c32', '-H', `Accept: ${manifestType}`],
  small: ['-t1', '-c32'],
  large: ['-t1', '-c8'],
} as const

export function casesOf(sample: Sample): readonly Case[] {
  const manifest = sample.manifest.size
  const [small, large] = [sample.blobs.small, sample.blobs.large]
  const blob = (server: ServerName, { digest, size }: typeof small): Subject => ({
    name: server,
    server,
    path: `/v2/${sample.names[server]}/blobs/${digest}`,
    length: size,
  })
  const manifestOf = (server: ServerName, by: 'tag' | 'digest'): Subject => ({
    name: `${server} by ${by}`,
    server,
    path: `/v2/${sample.names[server]}/manifests/${by === 'tag' ? sample.tag : sample.manifest.digest}`,
    length: manifest,
  })
  const goals = (ofNginx: number): Goal[] => [
    { of: 'headwater', to: 'nginx', least: ofNginx },
    { of: 'headwater', to: 'distribution', least: 1.2 },
  ]
  return [
    {
      name: `manifest, ${manifest} bytes`,
      unit: 'requests',
      wrk: lines.manifest,
      subjects: [
        manifestOf('headwater', 'tag'),
        manifestOf('distribution', 'digest'),
        manifestOf('nginx', 'tag'),
        manifestOf('headwater', 'digest'),
        manifestOf('distribution', 'tag'),
      ],
      goals: [
        { of: 'headwater by tag', to: 'distribution by digest', least: 3 },
        { of: 'headwater by tag', to: 'nginx by tag', least: 0.5 },
        { of: 'headwater by digest', to: 'distribution by digest', least: undefined },
        { of: 'headwater by digest', to: 'nginx by tag', least: undefined },
        { of: 'headwater by tag', to: 'distribution by tag', least: undefined },
      ],
    },
    {
      name: 'blob of 1 MiB',
      unit: 'bytes',
      wrk: lines.small,
      subjects: [blob('headwater', small), blob('distribution', small), blob('nginx', small)],
      goals: goals(0.9),
    },
    {
      name: 'blob of 200 MiB',
      unit: 'bytes',
      wrk: lines.large,
      subjects: [blob('headwater', large), blob('distribution', large), blob('nginx', large)],
      goals: goals(1),
    },
  ]
}
