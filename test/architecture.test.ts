import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'

/**
 * What each folder may import, the longest prefix of a file's path deciding. A new arrow in the design is a new word
 * here, seen in review. `proxy` never imports `operator`; `operator` imports one file of the proxy.
 */
const allowed: Record<string, readonly string[]> = {
  'proxy/': ['node:', 'proxy/'],
  'proxy/routes.ts': ['node:crypto', 'zod'],
  'proxy/route-table.ts': ['proxy/routes', 'proxy/access/', 'proxy/oci/'],
  'proxy/log.ts': ['pino', 'proxy/log-destination'],
  'proxy/log-destination.ts': ['node:'],
  'proxy/metrics.ts': ['node:', 'proxy/', '@prometheus-io/client'],
  'proxy/metric-series.ts': ['node:', '@prometheus-io/client'],
  'proxy/oci/': ['node:', 'proxy/oci/'],
  'proxy/access/': ['proxy/oci/', 'proxy/access/', 'proxy/routes'],
  'proxy/store/': ['node:', 'proxy/oci/', 'proxy/store/', 'proxy/observer', 'lru-cache'],
  'proxy/store/documents.ts': ['node:', 'proxy/oci/', 'proxy/store/', 'zod'],
  'proxy/store/s3-bucket.ts': ['node:', 'proxy/store/', '@aws-sdk/client-s3'],
  'proxy/store/s3-connections.ts': ['@smithy/undici-http-handler', 'undici'],
  'proxy/store/s3-presigner.ts': ['@aws-sdk/'],
  'proxy/store/s3-housekeeping.ts': ['node:', 'proxy/store/', '@aws-sdk/client-s3'],
  'proxy/store/redis-connection.ts': ['node:', 'proxy/store/', 'ioredis'],
  'proxy/upstream/': [
    ...['node:', 'proxy/oci/', 'proxy/upstream/', 'proxy/routes', 'proxy/observer'],
    ...['undici', 'tldts'],
  ],
  'proxy/pull/': [
    ...[
      'node:',
      'proxy/oci/',
      'proxy/pull/',
      'proxy/access/',
      'proxy/routes',
      'proxy/route-table',
      'proxy/observer',
    ],
    ...['proxy/store/blob-store', 'proxy/store/document-store', 'proxy/store/documents'],
    'proxy/store/leases',
    'proxy/store/breaker',
    ...[
      'proxy/store/index-store',
      'proxy/store/keys',
      'proxy/store/use-snapshots',
      'proxy/upstream/client',
      'proxy/upstream/errors',
      'lru-cache',
    ],
  ],
  'proxy/cleanup/': ['node:', 'proxy/oci/', 'proxy/store/', 'proxy/cleanup/'],
  'proxy/internal/': ['node:', 'proxy/internal/', 'proxy/routes', 'proxy/route-set'],
  'proxy/internal/peers.ts': [
    ...[
      'node:',
      'proxy/internal/',
      'proxy/pull/fill-transfer',
      'proxy/pull/sharing',
      'proxy/upstream/errors',
    ],
  ],
  'proxy/http/': [
    ...[
      'node:',
      'proxy/oci/',
      'proxy/pull/',
      'proxy/http/',
      'proxy/internal/',
      'proxy/route-table',
      'proxy/routes',
      'proxy/observer',
    ],
    ...['proxy/log', 'proxy/metrics', 'proxy/metric-series', 'fastify', 'pino'],
  ],
  'operator/': ['node:', 'operator/', 'proxy/routes', 'zod'],
  'operator/runtime/': [
    ...['node:', 'operator/runtime/', 'operator/api/'],
    ...['@kubernetes/client-node', '@prometheus-io/client'],
  ],
  'operator/api/': ['operator/api/', 'zod'],
  'cli/': ['node:', 'cli/', 'operator/', 'proxy/', 'yaml', 'zod', 'pino', '@kubernetes/client-node'],
}

const files = ['proxy', 'operator', 'cli'].flatMap((folder) => filesUnder(folder))

describe('who may import whom', () => {
  it.each(files)('%s keeps to its imports', (path) => {
    const folder = Object.keys(allowed)
      .filter((prefix) => path.startsWith(prefix))
      .reduce((longest, prefix) => (prefix.length > longest.length ? prefix : longest))
    const stray = importsOf(path).filter(
      (name) => !allowed[folder]!.some((prefix) => name.startsWith(prefix)),
    )
    expect(stray).toEqual([])
  })

  it.each([
    ['undici', /^proxy\/(?:upstream\/|store\/s3-connections\.ts$)/],
    ['@kubernetes/client-node', /^(?:operator\/runtime|cli)\//],
    ['fastify', /^proxy\/http\//],
    ['node:sqlite', /^proxy\/store\//],
    ['@aws-sdk/client-s3', /^proxy\/store\/s3-(?:bucket|housekeeping|presigner)\.ts$/],
    ['ioredis', /^proxy\/store\/redis-connection\.ts$/],
  ])('%s lives in one place', (name, home) => {
    expect(files.filter((path) => importsOf(path).includes(name) && !home.test(path))).toEqual([])
  })
})

describe('decisions', () => {
  const pure = ['node:crypto', 'node:util', 'zod']

  it.each(
    files.filter((path) =>
      /^operator\/(?:.*\/)?(?:plan|compile|contest|claims|grants|judge)\.ts$/.test(path),
    ),
  )('%s and all that it runs do no I/O', (path) => {
    const packages = [...reachedFrom(path)].filter((name) => !name.endsWith('.ts'))
    expect(packages.filter((name) => !pure.includes(name))).toEqual([])
  })
})

it.each(files.filter((path) => !path.startsWith('cli/')))('%s does not read the environment', (path) => {
  expect(readFileSync(path, 'utf8')).not.toMatch(/process\.env\b|process\.on\(|process\.exit\(/)
})

it('no file of the project names the host of a package registry', () => {
  const hosts = [
    'registry.npmjs',
    'registry.yarnpkg',
    'proxy.golang',
    'sum.golang',
    'deb.debian',
    'pypi',
  ].map((host) => new RegExp(`${host.replace('.', '\\.')}\\.(?:org|com)`))
  const everywhere = ['bench', 'charts', 'crds', 'docs', 'examples', 'test', '.ci'].flatMap((folder) =>
    filesUnder(folder, /./),
  )
  const top = readdirSync('.', { withFileTypes: true }).flatMap((entry) =>
    entry.isFile() ? [entry.name] : [],
  )
  const naming = [...files, ...everywhere, ...top].filter((path) => {
    const text = readFileSync(path, 'utf8')
    return hosts.some((host) => host.test(text))
  })
  expect(naming).toEqual([])
})

function filesUnder(folder: string, name = /\.(?:ts|js)$/): string[] {
  const entries = (() => {
    try {
      return readdirSync(folder, { recursive: true, withFileTypes: true })
    } catch {
      return []
    }
  })()
  return entries
    .filter((entry) => entry.isFile() && name.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

/** Static imports, exports from and dynamic imports, relative ones as paths from the root. */
function importsOf(path: string): string[] {
  const names = [...readFileSync(path, 'utf8').matchAll(/\b(?:from|import) '([^']+)'|\bimport\('([^']+)'\)/g)]
  return names
    .map((match) => (match[1] ?? match[2])!)
    .map((name) => (name.startsWith('.') ? join(dirname(path), name) : name))
}

/** Files and packages that are run when this file is: imports of types alone are not. */
function reachedFrom(path: string, reached = new Set<string>()): Set<string> {
  const text = readFileSync(path, 'utf8').replace(/^(?:import|export) type [^;]*? from '[^']+'$/gm, '')
  for (const [, name = ''] of text.matchAll(/\bfrom '([^']+)'/g)) {
    const target = name.startsWith('.') ? join(dirname(path), name) : name
    if (reached.has(target)) continue
    reached.add(target)
    if (target.endsWith('.ts')) reachedFrom(target, reached)
  }
  return reached
}
