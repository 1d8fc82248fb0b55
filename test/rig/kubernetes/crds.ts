import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse } from 'yaml'
import { type ApiClient, mustSucceed } from './api-client.ts'

const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
const folder = join(import.meta.dirname, '../../../crds')

/** The custom resource definitions as they are committed. */
export async function readCrds(): Promise<Crd[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.yaml')).sort()
  return Promise.all(files.map(async (file) => parse(await readFile(join(folder, file), 'utf8')) as Crd))
}

interface Crd {
  readonly metadata: { readonly name: string }
  readonly spec: {
    readonly group: string
    readonly names: { readonly plural: string }
    readonly versions: readonly { readonly name: string }[]
  }
}

/** Makes them and waits until objects of each can be listed. */
export async function installCrds(client: ApiClient): Promise<void> {
  const crds = await readCrds()
  for (const crd of crds) mustSucceed(await client.request('POST', path, crd))
  for (const { spec } of crds) {
    for (const { name } of spec.versions) {
      const list = `/apis/${spec.group}/${name}/${spec.names.plural}`
      for (const deadline = Date.now() + 20_000; (await client.request('GET', list)).status !== 200; ) {
        if (Date.now() > deadline) throw new Error(`${list} is not served`)
        await sleep(25)
      }
    }
  }
}
