import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { needPart } from '../test/rig/parts.ts'
import { run } from '../test/rig/process.ts'

const versions = {
  registry: { name: 'distribution', flag: '--version', pattern: /(v\d+\.[\d.]+)/ },
  nginx: { name: 'nginx', flag: '-v', pattern: /nginx\/([\d.]+)/ },
  wrk: { name: 'wrk', flag: '-v', pattern: /wrk \S*?([\d.]+)/ },
  'redis-server': { name: 'Redis', flag: '-v', pattern: /v=([\d.]+)/ },
  versitygw: { name: 'versitygw', flag: '--version', pattern: /(v[\d.]+)/ },
} as const

/** What the figures depend on, and nothing that names the machine. */
export async function describeMachine(programs: readonly (keyof typeof versions)[]): Promise<string[]> {
  const said = programs.map(async (program) => {
    const { name, flag, pattern } = versions[program]
    const { stdout, stderr } = await run(needPart(program), [flag])
    return `${name} ${pattern.exec(stdout + stderr)?.[1] ?? 'unknown'}`
  })
  const gib = Math.round(totalmem() / 1024 ** 3)
  return [
    `${cpus().length} cores of ${cpus()[0]?.model ?? 'an unknown processor'}, ${gib} GiB of memory${hypervisor()}`,
    `Linux ${release()}`,
    `Node ${process.versions.node}`,
    ...(await Promise.all(said)),
  ]
}

function hypervisor(): string {
  return readFileSync('/proc/cpuinfo', 'utf8').includes(' hypervisor') ? ', a virtual machine' : ''
}
