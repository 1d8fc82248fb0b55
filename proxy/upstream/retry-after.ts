const shortestSeconds = 1
const longestSeconds = 300

/** Seconds or a date (RFC 9110, 10.2.3), clamped to 1..300; undefined when it is neither. `now` is wall time in ms. */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined || value.length > 64) return undefined
  const text = value.trim()
  if (/^\d+$/.test(text)) return clamp(Number(text))
  if (!/^[A-Za-z]{3,9},? /.test(text)) return undefined
  const date = Date.parse(text)
  return Number.isNaN(date) ? undefined : clamp((date - now) / 1000)
}

function clamp(seconds: number): number {
  return Math.min(longestSeconds, Math.max(shortestSeconds, Math.ceil(seconds)))
}
