import { z } from 'zod'
import { Metadata } from './object.ts'

const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** As in Kubernetes, line breaks within base64 are allowed: a YAML block scalar has them. */
const base64 = z.string().refine((text) => base64Pattern.test(text.replace(/[\r\n]/g, '')), {
  error: 'expected base64; plain text goes into stringData',
})

/** The core kinds as far as they are read here; they have no CRD. */
export const Secret = z.object({
  apiVersion: z.literal('v1'),
  kind: z.literal('Secret'),
  metadata: Metadata,
  type: z.string().default('Opaque'),
  data: z.record(z.string(), base64).default({}),
  stringData: z.record(z.string(), z.string()).default({}),
  immutable: z.boolean().optional(),
})
export type Secret = Readonly<z.infer<typeof Secret>>

export const ConfigMap = z.object({
  apiVersion: z.literal('v1'),
  kind: z.literal('ConfigMap'),
  metadata: Metadata,
  data: z.record(z.string(), z.string()).default({}),
  binaryData: z.record(z.string(), base64).default({}),
  immutable: z.boolean().optional(),
})
export type ConfigMap = Readonly<z.infer<typeof ConfigMap>>

/** The text under a key; `stringData` wins, as in Kubernetes. Undefined when there is no such key. */
export function textOf(object: Secret | ConfigMap, key: string): string | undefined {
  const plain = object.kind === 'Secret' ? object.stringData : object.data
  const encoded = object.kind === 'Secret' ? object.data : object.binaryData
  if (Object.hasOwn(plain, key)) return plain[key]
  return Object.hasOwn(encoded, key) ? Buffer.from(encoded[key] ?? '', 'base64').toString('utf8') : undefined
}
