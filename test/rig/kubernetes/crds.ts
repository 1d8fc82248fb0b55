import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse } from 'yaml'
import { type ApiClient, mustSucceed } from './api-client.ts'

const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
const folder = join(import.meta.dirname, '../../../crds')

interface Crd {
  readonly metadata: { readonly name: string }
  readonly spec: {
    readonly group: string
    readonly names: { readonly plural: string }
    readonly versions: readonly { readonly name: string; readonly served: boolean }[]
  }
}

/** Makes the kinds as they are committed and waits until they are served. */
export async function installCrds(client: ApiClient): Promise<void> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.yaml'))
  for (const file of files) {
    mustSucceed(await client.request('POST', path, parse(await readFile(join(folder, file), 'utf8'))))
  }
  await untilCrdsAreServed(client)
}

/** Also after a restart it takes the API server a moment longer than it says. */
export async function untilCrdsAreServed(client: ApiClient): Promise<void> {
  const crds: readonly Crd[] = mustSucceed(await client.request('GET', path)).items
  const lists = crds.flatMap(({ spec }) =>
    spec.versions
      .filter(({ served }) => served)
      .map(({ name }) => `/apis/${spec.group}/${name}/${spec.names.plural}`),
  )
  for (const list of lists) {
    for (const deadline = Date.now() + 60_000; (await client.request('GET', list)).status !== 200; ) {
      if (Date.now() > deadline) throw new Error(`${list} is not served`)
      await sleep(25)
    }
  }
}
