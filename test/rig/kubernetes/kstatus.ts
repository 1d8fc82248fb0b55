export type State = 'Terminating' | 'InProgress' | 'Failed' | 'Current'

interface Judged {
  readonly metadata: { readonly generation?: number; readonly deletionTimestamp?: string }
  readonly status?: {
    readonly observedGeneration?: number
    readonly conditions?: readonly { readonly type: string; readonly status: string }[]
  }
}

/**
 * What kstatus makes of a custom object, and with it Helm, Flux and kpt: its rules as they stand in sigs.k8s.io/cli-utils
 * (pkg/kstatus/status: generic properties first, then Ready), in their order.
 */
export function kstatus({ metadata, status = {} }: Judged): State {
  const { observedGeneration, conditions = [] } = status
  if (metadata.deletionTimestamp) return 'Terminating'
  const isUnsaid = metadata.generation === undefined || observedGeneration === undefined
  if (!isUnsaid && observedGeneration !== metadata.generation) return 'InProgress'
  for (const { type, status: value } of conditions) {
    if (value !== 'True') continue
    if (type === 'Reconciling') return 'InProgress'
    if (type === 'Stalled') return 'Failed'
  }
  const ready = conditions.find(({ type }) => type === 'Ready')
  return ready === undefined || ready.status === 'True' ? 'Current' : 'InProgress'
}
