/** Tells of what fails again and again: once for each reason, and anew once it went well in between. */
export interface FailureTeller {
  failed(error: unknown): void
  /** True where it failed before. */
  wentWell(): boolean
}

export function createFailureTeller(onFailure: (error: unknown) => void): FailureTeller {
  let failing: string | undefined

  return {
    failed(error) {
      const reason = String(error)
      if (reason !== failing) onFailure(error)
      failing = reason
    },
    wentWell() {
      const hasFailed = failing !== undefined
      failing = undefined
      return hasFailed
    },
  }
}
