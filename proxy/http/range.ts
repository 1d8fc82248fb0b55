/** Which bytes of a whole to send: both ends inclusive, as in the header. */
export type RangeDecision =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly start: number; readonly end: number }
  | { readonly kind: 'unsatisfiable' }

const whole: RangeDecision = { kind: 'whole' }
const unsatisfiable: RangeDecision = { kind: 'unsatisfiable' }
const singleRange = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i

/**
 * RFC 9110, 14.2: one range is answered, several and those that cannot be read are ignored, so that no request costs more
 * than the whole. `500-0` is unsatisfiable, as the conformance suite has it, where the RFC would ignore it.
 */
export function decideRange(header: string | undefined, size: number | undefined): RangeDecision {
  if (header === undefined || size === undefined) return whole
  const [, first, last] = singleRange.exec(header) ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) return whole
  const [start, end] =
    first === ''
      ? [Math.max(0, size - Number(last)), size - 1]
      : [Number(first), last === '' ? size - 1 : Math.min(Number(last), size - 1)]
  return start >= size || start > end ? unsatisfiable : { kind: 'part', start, end }
}
