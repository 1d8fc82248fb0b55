import { join } from 'node:path'
import { parseRedisAddress, type RedisAddress } from '../proxy/store/redis-address.ts'
import type { Flag, FlagValues } from './flags.ts'
import { parseBytes } from './sizes.ts'

export const sharedFlags: readonly Flag[] = [
  {
    name: 'redis-url',
    value: 'URL',
    help: 'with --s3-bucket, keeps the cache where other replicas share it: redis://, redis-sentinel://host,host/master or redis-cluster://host,host; rediss… for TLS',
  },
  {
    name: 's3-bucket',
    value: 'NAME',
    help: 'the bucket of the cache; credentials come from where the AWS SDK looks for them',
  },
  { name: 's3-endpoint', value: 'URL', help: 'of an S3 server that is not AWS' },
  {
    name: 's3-redirect-endpoint',
    value: 'URL',
    help: 'by which clients reach S3 where a registry has blobDelivery: Redirect; without it as --s3-endpoint',
  },
  {
    name: 's3-region',
    value: 'REGION',
    help: 'of the bucket; without it as the AWS SDK finds it, and with --s3-endpoint us-east-1 where it finds none',
  },
  {
    name: 'spool',
    value: 'DIR',
    help: 'where running fills and copies of shared blobs are; without it “spool” in --data',
  },
  {
    name: 'spool-max-bytes',
    value: 'BYTES',
    help: 'the most the spool may take on the disk, as --data-max-bytes; without it 10Gi',
  },
]

export interface SharedSettings {
  readonly redis: RedisAddress
  readonly s3: {
    readonly bucket: string
    readonly endpoint: string | undefined
    readonly redirectEndpoint: string | undefined
    readonly region: string | undefined
  }
  readonly spool: { readonly folder: string; readonly maxBytes: number }
}

const defaultSpoolBytes = 10 * 2 ** 30

/** Undefined where nothing is shared, and where `problems` says what is wrong. Never with a value: a URL may hold a password. */
export function readSharedSettings(
  values: FlagValues,
  data: string,
  problems: string[],
): SharedSettings | undefined {
  const one = (name: string) => values.get(name)?.at(-1)
  const given = sharedFlags.filter(({ name }) => one(name) !== undefined)
  if (given.length === 0) return undefined
  const before = problems.length
  for (const name of ['redis-url', 's3-bucket']) {
    if (one(name) === undefined) problems.push(`--${name}: is needed with --${given[0]!.name}`)
  }
  const check = <T>(name: string, parse: (text: string) => T | undefined, expected: string) => {
    const text = one(name)
    const parsed = text === undefined ? undefined : parse(text)
    if (text !== undefined && parsed === undefined) problems.push(`--${name}: is not ${expected}`)
    return parsed
  }
  const redis = check('redis-url', parseRedisAddress, 'the URL of a Redis, such as redis://127.0.0.1:6379')
  const bucket = check('s3-bucket', parseBucketName, 'the name of a bucket')
  const endpoint = check('s3-endpoint', parseBaseUrl, 'an http or https URL without a path')
  const redirectEndpoint = check('s3-redirect-endpoint', parseBaseUrl, 'an http or https URL without a path')
  const region = check('s3-region', parseRegion, 'a region, such as eu-central-1')
  const maxBytes = check('spool-max-bytes', parseBytes, 'a number of bytes of at least 16Mi, such as 50Gi')
  if (problems.length > before || !redis || bucket === undefined) return undefined
  return {
    redis,
    s3: { bucket, endpoint, redirectEndpoint, region },
    spool: { folder: one('spool') ?? join(data, 'spool'), maxBytes: maxBytes ?? defaultSpoolBytes },
  }
}

function parseBucketName(text: string): string | undefined {
  return /^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$/.test(text) ? text : undefined
}

function parseRegion(text: string): string | undefined {
  return /^[a-z0-9-]{1,40}$/.test(text) ? text : undefined
}

export function parseBaseUrl(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isPlain = url && ['http:', 'https:'].includes(url.protocol) && url.username === ''
  return isPlain && url.pathname === '/' && url.search === '' && url.hash === '' ? url.origin : undefined
}
