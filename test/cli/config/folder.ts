import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** A folder with these files, gone after the test. */
export async function folderWith(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'headwater-config-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  return folder
}

export const upstream = `apiVersion: headwater.dev/v1alpha1
kind: Upstream
metadata: { name: hub }
spec:
  url: https://registry.example.com
`

export function registry(path = 'hub', name = 'all'): string {
  return `apiVersion: headwater.dev/v1alpha1
kind: VirtualRegistry
metadata: { name: ${name} }
spec:
  path: ${path}
  upstreams: [{ upstreamRef: { name: hub } }]
`
}
