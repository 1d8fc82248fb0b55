import type { SweepObserver } from '../proxy/cleanup/sweep.ts'
import type { Log } from '../proxy/log.ts'

const maxTold = 20

/** One line for each sweep that found something. */
export function tellSweeps(log: Log, metrics: SweepObserver): SweepObserver {
  return {
    swept(report) {
      metrics.swept(report)
      const { failures, ...counts } = report
      if (failures.length > 0) {
        const told = failures.slice(0, maxTold)
        log.logger.error(
          { ...counts, failed: failures.length, failures: told },
          'a sweep could not delete all',
        )
      } else if (Object.values(counts).some((count) => count > 0)) log.logger.info(counts, 'swept')
    },
    sweepFailed(error) {
      metrics.sweepFailed(error)
      log.logger.warn({ err: error }, 'a sweep ended early; the next one goes on')
    },
  }
}
