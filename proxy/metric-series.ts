import { Counter, Histogram, type Registry } from '@prometheus-io/client'

/** A plain number that the path increments; the library sees it when it is scraped. */
export interface Cell {
  value: number
}

export interface Timing {
  observe(seconds: number): void
}

const buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300]

/** A counter whose series are cells, copied into the library's own at each scrape. */
export function cells(register: Registry, name: string, help: string, labelNames: readonly string[]) {
  const table = createSeries<Cell>(() => ({ value: 0 }))
  new Counter({
    name,
    help,
    labelNames,
    registers: [register],
    collect() {
      this.reset()
      for (const { labels, series } of table.all()) this.inc(labelled(labelNames, labels), series.value)
    },
  })
  return table.of
}

interface TimingSeries extends Timing {
  readonly counts: readonly number[]
  readonly sum: number
}

/** A histogram whose observing is an addition; the library's own looks its labels up each time. */
export function timings(register: Registry, name: string, help: string, labelNames: readonly string[]) {
  const table = createSeries(createTiming)
  const histogram = new Histogram({ name, help, labelNames, buckets, registers: [register] })
  const get = async () => ({
    name,
    help,
    type: 'histogram',
    aggregator: 'sum',
    values: table
      .all()
      .flatMap(({ labels, series }) => bucketsOf(name, labelled(labelNames, labels), series)),
  })
  Object.assign(histogram, { get, getForPromString: get })
  return table.of
}

function createTiming(): TimingSeries {
  const counts = new Array<number>(buckets.length + 1).fill(0)
  let sum = 0
  return {
    counts,
    get sum() {
      return sum
    },
    observe(seconds) {
      let bucket = 0
      while (bucket < buckets.length && seconds > buckets[bucket]!) bucket += 1
      counts[bucket]! += 1
      sum += seconds
    },
  }
}

function bucketsOf(name: string, labels: Record<string, string>, { counts, sum }: TimingSeries) {
  let total = 0
  const cumulative = counts.map((count, index) => {
    total += count
    const le = buckets[index] ?? '+Inf'
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: total }
  })
  return [
    ...cumulative,
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: total },
  ]
}

function createSeries<T>(create: () => T) {
  const byKey = new Map<string, { readonly labels: readonly string[]; readonly series: T }>()
  return {
    all: () => [...byKey.values()],
    of(labels: readonly string[]): T {
      const key = labels.join('\n')
      const known = byKey.get(key)
      if (known) return known.series
      const series = create()
      byKey.set(key, { labels, series })
      return series
    },
  }
}

function labelled(names: readonly string[], values: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']))
}
