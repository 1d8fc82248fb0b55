import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { needPart } from '../test/rig/parts.ts'
import { run } from '../test/rig/process.ts'

/** What the figures depend on, and nothing that names the machine. */
export async function describeMachine(): Promise<string[]> {
  const said = async (name: 'nginx' | 'registry' | 'wrk', flag: string, pattern: RegExp) => {
    const { stdout, stderr } = await run(needPart(name), [flag])
    return pattern.exec(stdout + stderr)?.[1] ?? 'unknown'
  }
  const gib = Math.round(totalmem() / 1024 ** 3)
  return [
    `${cpus().length} cores of ${cpus()[0]?.model ?? 'an unknown processor'}, ${gib} GiB of memory${hypervisor()}`,
    `Linux ${release()}`,
    `Node ${process.versions.node}`,
    `distribution ${await said('registry', '--version', /(v\d+\.[\d.]+)/)}`,
    `nginx ${await said('nginx', '-v', /nginx\/([\d.]+)/)}`,
    `wrk ${await said('wrk', '-v', /wrk \S*?([\d.]+)/)}`,
  ]
}

function hypervisor(): string {
  return readFileSync('/proc/cpuinfo', 'utf8').includes(' hypervisor') ? ', a virtual machine' : ''
}
