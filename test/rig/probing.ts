import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Headwater } from './headwater.ts'

export interface Probe {
  readonly path: string
  /** 0 where the connection broke. */
  readonly status: number
  readonly ms: number
}

/** Asks a probe as the kubelet does, on a connection of its own. */
export function probe({ adminUrl }: Headwater, path: '/livez' | '/readyz'): Promise<Probe> {
  const startedAt = performance.now()
  return new Promise((resolve) => {
    const end = (status: number) => resolve({ path, status, ms: performance.now() - startedAt })
    const sent = request(`${adminUrl}${path}`, { agent: false }, (response) => {
      response.resume()
      response.once('close', () => end(response.statusCode ?? 0))
    })
    sent.once('error', () => end(0))
    sent.end()
  })
}

/** Both, again and again, until it is ended: all answers, in order. */
export function startProbing(headwater: Headwater, everyMs = 200): { end(): Promise<readonly Probe[]> } {
  let going = true
  const probes = (async () => {
    const all: Probe[] = []
    while (going) {
      all.push(...(await Promise.all([probe(headwater, '/livez'), probe(headwater, '/readyz')])))
      await sleep(everyMs)
    }
    return all
  })()
  return {
    end() {
      going = false
      return probes
    },
  }
}
