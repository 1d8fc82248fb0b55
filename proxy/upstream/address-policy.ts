import { BlockList, isIP, isIPv4 } from 'node:net'

/** Ranges such as `10.0.0.0/8` or single addresses. An allowed range is an exception to those denied ranges that it lies within. */
export interface AddressPolicy {
  readonly deny: readonly string[]
  readonly allow: readonly string[]
  /** Denied as those of `deny`, and perhaps others the next time; the same list for as long as they are the same. */
  readonly denyNow?: (() => readonly string[]) | undefined
}

/** Unspecified, which leads to this machine itself, and multicast: nothing there can be allowed. */
const neverPermitted = ['0.0.0.0/8', '224.0.0.0/4', '::', 'ff00::/8']

/** Link-local, reserved, and the metadata services of the clouds. */
const deniedAnywhere = [
  '169.254.0.0/16',
  '240.0.0.0/4',
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
  'fe80::/10',
  'fd00:ec2::254',
  'fd20:ce::254',
]

/**
 * Whether an address may be connected to. IPv4 inside IPv6 (mapped, NAT64, 6to4, Teredo, ISATAP) is judged as both.
 * Throws when a range of the policy is not one.
 */
export function createAddressCheck({
  deny,
  allow,
  denyNow = () => [],
}: AddressPolicy): (address: string) => boolean {
  const allowed = allow.map(readRange)
  const always = [
    ...neverPermitted.map((text) => denial(readRange(text), [])),
    ...[...deniedAnywhere, ...deny].map((text) => denial(readRange(text), allowed)),
  ]
  let current = denyNow()
  let denials = [...always, ...current.map((text) => denial(readRange(text), allowed))]

  return (address) => {
    const forms = formsOf(address)
    const next = denyNow()
    if (next !== current) {
      denials = [...always, ...next.map((text) => denial(readRange(text), allowed))]
      current = next
    }
    return forms.length > 0 && forms.every((form) => !denials.some((denies) => denies(form)))
  }
}

/** Denies a range but for what is allowed of it: who allows more than was denied did not mean this. */
function denial(range: Range, allowed: readonly Range[]): (address: string) => boolean {
  const denied = blockListOf([range])
  const isWithin = (other: Range) =>
    other.family === range.family && other.bits >= range.bits && contains(denied, other.address)
  const exceptions = blockListOf(allowed.filter(isWithin))
  return (address) => contains(denied, address) && !contains(exceptions, address)
}

function blockListOf(ranges: readonly Range[]): BlockList {
  const list = new BlockList()
  for (const { address, bits, family } of ranges) list.addSubnet(address, bits, family)
  return list
}

interface Range {
  readonly address: string
  readonly bits: number
  readonly family: 'ipv4' | 'ipv6'
}

function readRange(text: string): Range {
  const range = parseRange(text)
  if (!range) throw new Error(`${text} is not a range of addresses`)
  return range
}

/** Undefined for what a policy cannot hold. */
export function parseRange(text: string): Range | undefined {
  const [address = '', bits, more] = text.split('/')
  if (isIP(address) === 0 || more !== undefined || (bits !== undefined && !/^\d{1,3}$/.test(bits)))
    return undefined
  const family = isIPv4(address) ? 'ipv4' : 'ipv6'
  const width = family === 'ipv4' ? 32 : 128
  return Number(bits ?? width) > width ? undefined : { address, bits: Number(bits ?? width), family }
}

function contains(list: BlockList, address: string): boolean {
  return list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
}

/** Every address this one stands for; none when it is no address. */
function formsOf(text: string): string[] {
  const address = text.replace(/%.*$/s, '')
  if (isIPv4(address)) return [address]
  if (isIP(address) === 0) return []
  const groups = groupsOf(address)
  const [a, b, c, d, e, f, g, h] = groups
  const startsWithZeros = (count: number) => groups.slice(0, count).every((group) => group === 0)

  if (startsWithZeros(5) && f === 0xffff) return [dotted(g, h)]
  if (startsWithZeros(6) && g !== 0) return [address, dotted(g, h)]
  if (startsWithZeros(4) && e === 0xffff && f === 0) return [address, dotted(g, h)]
  if (a === 0x64 && b === 0xff9b) return [address, dotted(g, h)]
  if (a === 0x2002) return [address, dotted(b, c)]
  if (a === 0x2001 && b === 0) return [address, dotted(c, d), dotted(g ^ 0xffff, h ^ 0xffff)]
  if (f === 0x5efe) return [address, dotted(g, h)]
  return [address]
}

type Groups = [number, number, number, number, number, number, number, number]

/** The URL parser writes any IPv6 address in its shortest form, without dots. */
function groupsOf(address: string): Groups {
  const [left = '', right] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const head = left === '' ? [] : left.split(':')
  const tail = right === undefined || right === '' ? [] : right.split(':')
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => '0')
  return [...head, ...zeros, ...tail].map((group) => Number.parseInt(group, 16)) as Groups
}

function dotted(high: number, low: number): string {
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
}
