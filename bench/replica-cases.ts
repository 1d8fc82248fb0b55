import { type Case, type Goal, lines, type Subject } from './cases.ts'
import type { Sample } from './sample.ts'

/** Whom a subject asks. */
export const shared = ['embedded', 'one', 'three', 'diskless', 'distribution', 'redirecting'] as const
export type SharedName = (typeof shared)[number]

export interface ReplicaSubject extends Subject {
  readonly server: SharedName
}

export interface ReplicaCase extends Case {
  readonly subjects: readonly ReplicaSubject[]
}

interface SharedCases {
  /** One replica beside embedded stores. */
  readonly paired: readonly ReplicaCase[]
  /** Replicas beside distribution. */
  readonly beside: readonly ReplicaCase[]
}

/** On Redis and S3 a warm replica is nearly as fast as on files and SQLite. */
const leastOfEmbedded = 0.9

export function replicaCasesOf(sample: Sample): SharedCases {
  const { headwater, distribution } = sample.names
  const nameAt = (server: SharedName) =>
    server === 'distribution' || server === 'redirecting' ? distribution : headwater
  const manifest = (name: string, server: SharedName, reference: string): ReplicaSubject => ({
    ...{ name, server, length: sample.manifest.size },
    path: `/v2/${nameAt(server)}/manifests/${reference}`,
  })
  const blob = (
    name: string,
    server: SharedName,
    { digest, size }: Sample['blobs']['small'],
    repository = nameAt(server),
  ): ReplicaSubject => ({ name, server, path: `/v2/${repository}/blobs/${digest}`, length: size })
  const { small, large } = sample.blobs
  const more: Goal = { of: 'three replicas', to: 'one replica', least: undefined }
  const than: Goal = { of: 'one replica', to: 'distribution', least: undefined }

  const hotManifest = { name: 'manifest by tag, hot', unit: 'requests', wrk: lines.manifest } as const
  const hotBlob = { name: 'blob of 1 MiB, hot', unit: 'bytes', wrk: lines.small } as const
  const diskBlob = { name: 'blob of 200 MiB, from disk', unit: 'bytes', wrk: lines.large } as const

  const pair = (
    kase: Omit<Case, 'subjects' | 'goals'>,
    subject: (name: string, server: SharedName) => ReplicaSubject,
  ): ReplicaCase => ({
    ...kase,
    subjects: [subject('embedded stores', 'embedded'), subject('one replica', 'one')],
    goals: [{ of: 'one replica', to: 'embedded stores', least: leastOfEmbedded }],
  })

  return {
    paired: [
      pair(hotManifest, (name, server) => manifest(name, server, sample.tag)),
      pair(hotBlob, (name, server) => blob(name, server, small)),
      pair(diskBlob, (name, server) => blob(name, server, large)),
    ],
    beside: [
      {
        ...hotManifest,
        subjects: [
          manifest('one replica', 'one', sample.tag),
          manifest('three replicas', 'three', sample.tag),
          manifest('distribution', 'distribution', sample.manifest.digest),
        ],
        goals: [more, than],
      },
      {
        ...hotBlob,
        subjects: [
          blob('one replica', 'one', small),
          blob('three replicas', 'three', small),
          blob('distribution', 'distribution', small),
        ],
        goals: [more, than],
      },
      {
        ...diskBlob,
        subjects: [blob('one replica', 'one', large), blob('three replicas', 'three', large)],
        goals: [more],
      },
      {
        ...{ name: 'blob of 200 MiB, from S3 through the proxy', unit: 'bytes', wrk: lines.large },
        subjects: [
          blob('one replica without a disk', 'diskless', large),
          blob('distribution', 'distribution', large),
        ],
        goals: [{ ...than, of: 'one replica without a disk' }],
      },
      {
        ...{ name: 'redirects to S3', unit: 'requests', wrk: lines.large },
        subjects: [
          blob('one replica', 'one', large, headwater.replace(/^a/, 'r')),
          blob('distribution', 'redirecting', large),
        ],
        goals: [than],
      },
    ],
  }
}
