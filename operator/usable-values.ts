import { longestDocument } from '../proxy/routes.ts'
import { tooLong, trimDockerConfig } from './upstream/credentials.ts'

/**
 * Of the values of a Secret, in base64, what an Upstream can make use of; the others are empty. Secrets are watched
 * whether anybody refers to them or not, and each may have a mebibyte. What is too long stays too long.
 */
export function usableSecretValues(
  type: string,
  data: Readonly<Record<string, string>>,
): Record<string, string> {
  return mapValues(data, (encoded, key) => {
    switch (`${type} ${key}`) {
      case 'kubernetes.io/dockerconfigjson .dockerconfigjson':
        return recoded(encoded, trimDockerConfig)
      case 'kubernetes.io/basic-auth username':
      case 'kubernetes.io/basic-auth password':
        return recoded(encoded, (text) => text.slice(0, tooLong))
      case 'kubernetes.io/tls tls.key':
        return recoded(encoded, (text) => text.slice(0, longestKey))
      default:
        return recoded(encoded, trimCertificates)
    }
  })
}

/** The same of a ConfigMap: certificates, and nothing else. */
export function usableConfigMapValues({
  data,
  binaryData,
}: {
  readonly data: Readonly<Record<string, string>>
  readonly binaryData: Readonly<Record<string, string>>
}) {
  return {
    data: mapValues(data, trimCertificates),
    binaryData: mapValues(binaryData, (encoded) => recoded(encoded, trimCertificates)),
  }
}

/** Several times as long as the longest keys there are. */
const longestKey = 64 * 1024
const begin = '-----BEGIN CERTIFICATE-----'
const end = '-----END CERTIFICATE-----'

/** As many whole ones as are too many for a document, where there are more. One without an end stays one. */
function trimCertificates(text: string): string {
  if (!text.includes(begin)) return ''
  if (text.length <= longestDocument) return text
  let trimmed = ''
  for (let at = text.indexOf(begin); at >= 0 && trimmed.length <= longestDocument; ) {
    const next = text.indexOf(begin, at + begin.length)
    const part = text.slice(at, next < 0 ? undefined : next)
    const length = part.indexOf(end) + end.length
    const isWhole = length >= end.length && length <= longestDocument
    trimmed += `${isWhole ? part.slice(0, length) : begin}\n`
    at = next
  }
  return copied(trimmed)
}

/** What is unchanged is not encoded anew: it is the text that is there already. */
function recoded(encoded: string, trim: (text: string) => string): string {
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const trimmed = trim(text)
  return trimmed === text ? encoded : Buffer.from(trimmed).toString('base64')
}

/** A part of a text would keep the whole of it in memory. */
function copied(text: string): string {
  return Buffer.from(text).toString('utf8')
}

function mapValues(
  values: Readonly<Record<string, string>>,
  of: (value: string, key: string) => string,
): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, of(value, key)]))
}
