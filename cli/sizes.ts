const units: Readonly<Record<string, number>> = { '': 1, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40 }
const leastDataBytes = 16 * 2 ** 20

/** As a number or with Ki, Mi, Gi or Ti; undefined for what is none, or less than a cache can do with. */
export function parseBytes(text: string): number | undefined {
  const { number, unit = '' } = /^(?<number>\d{1,15})(?<unit>Ki|Mi|Gi|Ti)?$/.exec(text)?.groups ?? {}
  const bytes = Number(number) * units[unit]!
  return Number.isSafeInteger(bytes) && bytes >= leastDataBytes ? bytes : undefined
}
