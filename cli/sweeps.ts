import type { SweepObserver } from '../proxy/cleanup/sweep.ts'
import type { Log } from '../proxy/log.ts'

const maxTold = 20

/** One line for each sweep that found something, and one for each part of it that ended early. */
export function tellSweeps(log: Log, metrics: SweepObserver): SweepObserver {
  return {
    swept(report) {
      metrics.swept(report)
      const { failures, endedEarly, ...counts } = report
      for (const { part, error } of endedEarly)
        log.logger.warn({ part, err: error }, 'a part of a sweep ended early; the next sweep begins it anew')
      if (failures.length > 0) {
        const told = failures.slice(0, maxTold)
        log.logger.error(
          { ...counts, failed: failures.length, failures: told },
          'a sweep could not delete all',
        )
      } else if (Object.values(counts).some((count) => count > 0)) log.logger.info(counts, 'swept')
    },
  }
}
