import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { expect, it, onTestFinished, vi } from 'vitest'
import { type Configuration, loadConfiguration } from '../../../cli/config/load.ts'
import { watchConfiguration } from '../../../cli/config/watch.ts'
import { folderWith, registry, upstream } from './folder.ts'

function configuration(path: string): string {
  return `${upstream}---\n${registry(path)}`
}

/** Watches and writes down what is told: the path of the one registry, or `bad`. */
async function watching(
  paths: string[],
  { pollMs = 60_000, since }: { pollMs?: number; since?: string } = {},
) {
  const told: string[] = []
  const stop = new AbortController()
  onTestFinished(() => stop.abort())
  watchConfiguration(paths, {
    since: since ?? (await loadConfiguration(paths)).fingerprint,
    onChange: ({ documents }: Configuration) => void told.push(documents?.registries[0]?.path ?? 'bad'),
    signal: stop.signal,
    quietMs: 30,
    pollMs,
  })
  await setTimeout(100) // until the watches stand; what happens before is another test
  return { told, stop }
}

function become(told: string[], expected: string[]) {
  return vi.waitFor(() => expect(told).toEqual(expected), { timeout: 5000, interval: 10 })
}

it('tells of an edit, of a bad one, and of its mending', async () => {
  const folder = await folderWith({ 'a.yaml': configuration('one') })
  const file = join(folder, 'a.yaml')
  const { told } = await watching([file])
  await writeFile(file, configuration('two'))
  await become(told, ['two'])
  await writeFile(file, 'kind: Pod\n')
  await become(told, ['two', 'bad'])
  await writeFile(file, configuration('three'))
  await become(told, ['two', 'bad', 'three'])
})

it('tells of a file renamed over another, again and again', async () => {
  const folder = await folderWith({ 'a.yaml': configuration('one') })
  const file = join(folder, 'a.yaml')
  const { told } = await watching([file])
  for (const [at, path] of ['two', 'three', 'four'].entries()) {
    await writeFile(`${file}.new`, configuration(path))
    await rename(`${file}.new`, file)
    await become(told, ['two', 'three', 'four'].slice(0, at + 1))
  }
})

it('tells of a file removed and written again', async () => {
  const folder = await folderWith({ 'a.yaml': configuration('one') })
  const file = join(folder, 'a.yaml')
  const { told } = await watching([file])
  await rm(file)
  await become(told, ['bad'])
  await writeFile(file, configuration('two'))
  await become(told, ['bad', 'two'])
})

it('tells of a file added to a folder', async () => {
  const folder = await folderWith({ 'a.yaml': upstream, 'b.yaml': registry('one') })
  const { told } = await watching([folder])
  await writeFile(join(folder, 'c.yaml'), registry('two', 'two').replace('name: hub', 'name: nowhere'))
  await become(told, ['bad'])
  await rm(join(folder, 'c.yaml'))
  await become(told, ['bad', 'one'])
})

it.each([
  ['a folder', ''],
  ['a file', 'a.yaml'],
])('tells of a mounted ConfigMap whose link is swapped, watched as %s', async (_, name) => {
  const folder = await folderWith({})
  const write = async (version: string, path: string) => {
    await mkdir(join(folder, version))
    await writeFile(join(folder, version, 'a.yaml'), configuration(path))
    await symlink(version, join(folder, '..tmp'))
    await rename(join(folder, '..tmp'), join(folder, '..data'))
  }
  await write('..1', 'one')
  await symlink('..data/a.yaml', join(folder, 'a.yaml'))
  const { told } = await watching([join(folder, name)])
  await write('..2', 'two')
  await rm(join(folder, '..1'), { recursive: true })
  await become(told, ['two'])
  await write('..3', 'three')
  await become(told, ['two', 'three'])
})

it('finds by itself what no event told', async () => {
  const far = await folderWith({ 'a.yaml': configuration('one'), 'b.yaml': configuration('two') })
  const folder = await folderWith({})
  await mkdir(join(folder, 'sub'))
  await symlink(far, join(folder, 'sub', 'link'))
  const { told } = await watching([join(folder, 'sub', 'link', 'a.yaml')], { pollMs: 50 })
  await rename(join(folder, 'sub'), join(folder, 'gone'))
  await become(told, ['bad'])
  await mkdir(join(folder, 'sub', 'link'), { recursive: true })
  await writeFile(join(folder, 'sub', 'link', 'a.yaml'), configuration('three'))
  await become(told, ['bad', 'three'])
})

it('tells of an edit between loading and watching', async () => {
  const folder = await folderWith({ 'a.yaml': configuration('one') })
  const { fingerprint } = await loadConfiguration([folder])
  await writeFile(join(folder, 'a.yaml'), configuration('two'))
  const { told } = await watching([folder], { since: fingerprint })
  await become(told, ['two'])
})

it('says nothing when the text stays the same, nor after its end', async () => {
  const folder = await folderWith({ 'a.yaml': configuration('one') })
  const file = join(folder, 'a.yaml')
  const { told, stop } = await watching([folder], { pollMs: 20 })
  await writeFile(file, configuration('one'))
  await setTimeout(200)
  stop.abort()
  await writeFile(file, configuration('two'))
  await setTimeout(200)
  expect(told).toEqual([])
})

it('waits until a file is quiet', async () => {
  const folder = await folderWith({ 'a.yaml': configuration('one') })
  const { told } = await watching([folder])
  for (let count = 0; count < 10; count += 1) {
    await writeFile(join(folder, 'a.yaml'), `${configuration('two')}# ${'.'.repeat(count)}\n`)
    await setTimeout(5)
  }
  await become(told, ['two'])
  await setTimeout(100)
  expect(told).toEqual(['two'])
})
