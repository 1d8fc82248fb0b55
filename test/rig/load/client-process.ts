import { type Get, type Got, openLane } from './lane.ts'

/**
 * Many clients as one program, so that making the load costs little beside what is measured. It is given a job by its
 * parent's message, and answers with one.
 */
export interface LoadJob {
  readonly host: string
  readonly port: number
  readonly clients: readonly ClientPlan[]
}

/** What one client does: `first` alone, and then the rest, several at a time as docker and containerd do. */
export interface ClientPlan {
  readonly first?: Get | undefined
  readonly rest: readonly Get[]
  readonly lanes: number
  /** Begins later than the others. */
  readonly afterMs?: number | undefined
}

export interface LoadResult {
  readonly got: readonly (readonly Got[])[]
  /** Of each client, from the beginning of the job. */
  readonly doneMs: readonly number[]
  readonly wallMs: number
  /** Cores that making the load took. */
  readonly cores: number
}

async function run({ host, port, clients }: LoadJob): Promise<LoadResult> {
  const startedAt = performance.now()
  const usage = process.cpuUsage()
  const doneMs = new Array<number>(clients.length).fill(0)
  const got = await Promise.all(
    clients.map(async (client, number) => {
      if (client.afterMs !== undefined) await new Promise((resolve) => setTimeout(resolve, client.afterMs))
      const all = await pull(host, port, client)
      doneMs[number] = performance.now() - startedAt
      return all
    }),
  )
  const wallMs = performance.now() - startedAt
  const { user, system } = process.cpuUsage(usage)
  return { got, doneMs, wallMs, cores: (user + system) / 1000 / wallMs }
}

async function pull(host: string, port: number, { first, rest, lanes }: ClientPlan): Promise<Got[]> {
  const all: Got[] = []
  const queue = [...rest]
  const work = async (lane = openLane(host, port)) => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const one = await lane.get(next)
      all.push(one)
      if (next.leaveAfter !== undefined || one.fault !== undefined) {
        lane.close()
        lane = openLane(host, port)
      }
    }
    lane.close()
  }
  const lane = openLane(host, port)
  if (first !== undefined) all.push(await lane.get(first))
  const others = Array.from({ length: Math.min(lanes, rest.length) - 1 }, () => work())
  await Promise.all([work(lane), ...others])
  return all
}

process.on('message', (job: LoadJob) => {
  void run(job).then((result) => process.send?.(result))
})
process.on('disconnect', () => process.exit(0))
