import { execFileSync } from 'node:child_process'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadConfiguration } from '../../../cli/config/load.ts'
import { RouteDocuments } from '../../../proxy/routes.ts'
import { folderWith, registry, upstream } from './folder.ts'

/** What a person reads, with the folder's name left out. */
async function problemsOf(text: string, rest: Record<string, string> = {}): Promise<readonly string[]> {
  const folder = await folderWith({ 'a.yaml': text, ...rest })
  const { problems = [] } = await loadConfiguration([folder])
  return problems.map((problem) => problem.replaceAll(`${folder}/`, '').replaceAll(folder, '.'))
}

const sound = `${upstream}---\n${registry()}`

describe('a configuration', () => {
  it('is read from files and folders, in order, with namespace default', async () => {
    const folder = await folderWith({
      'b.yml': registry(),
      'a.yaml': `# a comment\n---\n---\n${upstream}---\n# nothing\n`,
      'notes.txt': 'not: [yaml',
      '.hidden.yaml': 'not: [yaml',
    })
    const more = await folderWith({ 'more.conf': registry('other', 'other') })
    await mkdir(join(folder, 'sub.yaml.d'))
    const { documents, problems } = await loadConfiguration([folder, join(more, 'more.conf')])
    expect(problems).toBeUndefined()
    expect(RouteDocuments.parse(documents)).toEqual(documents)
    expect(documents?.upstreams.map(({ namespace, name }) => `${namespace}/${name}`)).toEqual(['default/hub'])
    expect(documents?.registries.map(({ path }) => path)).toEqual(['hub', 'other'])
  })

  it('may be a dump of a cluster', async () => {
    const dumped = `${upstream}status: { observedGeneration: 3 }\n`.replace(
      '{ name: hub }',
      `
  name: hub
  namespace: default
  creationTimestamp: null
  generation: 3
  resourceVersion: "12"
  uid: 0c3b6f10-7f3f-4b53-8f6b-0d2c0ffee000
  managedFields: [{ manager: kubectl }]
  annotations: { kubectl.kubernetes.io/last-applied-configuration: "{}" }`,
    )
    expect(await problemsOf(`${dumped}---\n${registry()}`)).toEqual([])
  })

  it('may have anchors, aliases, merge keys, a byte order mark and Windows line ends', async () => {
    const text = `${sound.replace('upstreams:', 'hosts: &h [a.example]\n  upstreams:')}---
${registry('two', 'two').replace('spec:', 'spec:\n  <<: { serving: Disabled }')}`
    expect(await problemsOf(`\ufeff${text.replaceAll('\n', '\r\n')}`)).toEqual([])
  })

  it('has a fingerprint that differs when a text or a name does', async () => {
    const print = async (files: Record<string, string>) => {
      const folder = await folderWith(files)
      return (await loadConfiguration([folder])).fingerprint
    }
    const folder = await folderWith({ 'a.yaml': sound })
    const { fingerprint } = await loadConfiguration([folder])
    expect((await loadConfiguration([folder])).fingerprint).toBe(fingerprint)
    await writeFile(join(folder, 'a.yaml'), `${sound}# more\n`)
    expect((await loadConfiguration([folder])).fingerprint).not.toBe(fingerprint)
    expect(await print({ 'a.yaml': 'x' })).not.toBe(await print({ 'a.yaml': 'y' }))
  })

  it('takes credentials from a Secret in another file', async () => {
    const folder = await folderWith({
      'a.yaml': sound.replace('url:', 'credentialsSecretRef: { name: login }\n  url:'),
      'secret.yaml': `apiVersion: v1
kind: Secret
metadata: { name: login, annotations: { headwater.dev/registry-host: registry.example.com } }
type: kubernetes.io/basic-auth
data: { username: bWU= }
stringData: { password: hunter2 }
`,
    })
    const { documents } = await loadConfiguration([folder])
    expect(documents?.upstreams[0]?.credentials).toEqual({ username: 'me', password: 'hunter2' })
  })
})

describe('a file that cannot be read', () => {
  it('is said by name', async () => {
    const folder = await folderWith({ 'big.yaml': ' '.repeat(1024 * 1024 + 1), 'latin.yaml': '' })
    await writeFile(join(folder, 'latin.yaml'), Buffer.from([0x61, 0xe4, 0x62]))
    await symlink('nowhere', join(folder, 'link.yaml'))
    await mkdir(join(folder, 'folder.yaml'))
    await mkdir(join(folder, 'empty'))
    execFileSync('mkfifo', [join(folder, 'pipe.yaml')])
    const { problems } = await loadConfiguration([folder, `${folder}/empty`, `${folder}/missing.yaml`])
    expect(problems?.map((problem) => problem.replaceAll(folder, ''))).toEqual([
      '/empty: no *.yaml or *.yml file in this folder',
      '/missing.yaml: no such file or folder',
      '/big.yaml: larger than 1 MiB',
      '/folder.yaml: neither a file nor a folder of the configuration',
      '/latin.yaml: not text in UTF-8',
      '/link.yaml: no such file or folder',
      '/pipe.yaml: neither a file nor a folder of the configuration',
    ])
  })
})

describe('what is wrong with a configuration is said with file, line, document, resource, field and what was expected:', () => {
  it.each<[string, string, string[]]>([
    ['nothing at all', '---\n# nothing\n', ['.: no VirtualRegistry, so nothing would be served']],
    ['no registry', upstream, ['.: no VirtualRegistry, so nothing would be served']],
    ['no resource', '- a\n- b\n', ['a.yaml:1: document 1: expected a resource: apiVersion, kind, …']],
    [
      'no kind',
      'a: b\n',
      ['a.yaml:1: document 1: kind: expected Upstream, VirtualRegistry, Secret or ConfigMap'],
    ],
    [
      'an unknown kind',
      `${sound}---\nkind: Pod\nmetadata: { name: p }\n`,
      [
        'a.yaml:14: document 3, Pod default/p: kind: unknown kind; expected Upstream, VirtualRegistry, Secret or ConfigMap',
      ],
    ],
    [
      'a kind named like something of every object',
      'kind: constructor\n',
      [
        'a.yaml:1: document 1, constructor default/(unnamed): kind: unknown kind; expected Upstream, VirtualRegistry, Secret or ConfigMap',
      ],
    ],
    [
      'another version',
      sound.replace('v1alpha1', 'v1'),
      ['a.yaml:1: document 1, Upstream default/hub: apiVersion: expected headwater.dev/v1alpha1'],
    ],
    [
      'a List',
      `apiVersion: v1\nkind: List\nitems: []\n---\n${registry()}`,
      [
        'a.yaml:2: document 1: kind: a List is not supported; write its items as documents of their own, with --- between them',
      ],
    ],
    [
      'a CleanupPolicy',
      `${sound}---\napiVersion: headwater.dev/v1alpha1\nkind: CleanupPolicy\nmetadata: { name: weekly }\n`,
      ['a.yaml:15: document 3, CleanupPolicy default/weekly: kind: CleanupPolicy is not supported yet'],
    ],
    [
      'no name',
      sound.replace('metadata: { name: hub }\n', ''),
      [
        'a.yaml:1: document 1, Upstream default/(unnamed): metadata: required',
        // and no word of a missing upstream
      ],
    ],
    [
      'a bad name and namespace',
      sound.replace('{ name: hub }\nspec:\n  url', '{ name: Hub, namespace: a.b }\nspec:\n  url'),
      [
        'a.yaml:3: document 1, Upstream a.b/Hub: metadata.name: expected lower-case letters, digits, "-" and "."',
        'a.yaml:3: document 1, Upstream a.b/Hub: metadata.namespace: expected lower-case letters, digits and "-"',
        'a.yaml:12: document 2, VirtualRegistry default/all: spec.upstreams[0].upstreamRef.name: there is no Upstream hub in this namespace',
      ],
    ],
    [
      'a misspelled field',
      sound.replace('url:', 'ulr:'),
      [
        'a.yaml:4: document 1, Upstream default/hub: spec.url: required',
        'a.yaml:5: document 1, Upstream default/hub: spec.ulr: unknown field; known here: url, credentialsSecretRef, tls, revalidation, defaultRepositoryPrefix, tokenServiceHosts, mirrorOf, mode',
      ],
    ],
    [
      'a field in the wrong place',
      `${sound}serving: Disabled\n`,
      [
        'a.yaml:13: document 2, VirtualRegistry default/all: serving: unknown field; known here: apiVersion, kind, metadata, spec',
      ],
    ],
    [
      'wrong types',
      sound.replace('path: hub', 'path: 1\n  hosts: a\n  access: []\n  serving: yes'),
      [
        'a.yaml:11: document 2, VirtualRegistry default/all: spec.path: expected a string, found a number; put it in quotes',
        'a.yaml:12: document 2, VirtualRegistry default/all: spec.hosts: expected a list, found a string',
        'a.yaml:13: document 2, VirtualRegistry default/all: spec.access: expected an object, found a list',
        'a.yaml:14: document 2, VirtualRegistry default/all: spec.serving: expected Enabled or Disabled',
      ],
    ],
    [
      'validity of 0 and of half a second',
      `${upstream}  revalidation: { validitySeconds: 0 }\n---\n${upstream.replace('hub', 'half')}  revalidation: { validitySeconds: 0.5 }\n---\n${registry()}`,
      [
        'a.yaml:6: document 1, Upstream default/hub: spec.revalidation.validitySeconds: expected at least 1; to check at every pull or at none, say Always or Never in policy',
        'a.yaml:13: document 2, Upstream default/half: spec.revalidation.validitySeconds: expected a whole number, found a number',
      ],
    ],
    [
      'an address with a password',
      sound.replace('https://', 'https://me:hunter2@'),
      [
        'a.yaml:5: document 1, Upstream default/hub: spec.url: no user name or password in the address; use credentialsSecretRef',
      ],
    ],
    [
      'an address with a query',
      sound.replace('example.com', 'example.com/?token=hunter2'),
      ['a.yaml:5: document 1, Upstream default/hub: spec.url: no query in the address'],
    ],
    [
      'an address that is none',
      sound.replace('registry.example.com', '1.2.3.4.5'),
      ['a.yaml:5: document 1, Upstream default/hub: spec.url: the host is neither a name nor an address'],
    ],
    [
      'a host with a port',
      sound.replace('path: hub', 'hosts: [a.example, "b.example:443"]'),
      [
        'a.yaml:11: document 2, VirtualRegistry default/all: spec.hosts[1]: expected a host in lower case and without a port, such as registry.example.com',
      ],
    ],
    [
      'a subject that is not there yet',
      `${sound}  access: { rules: [{ subjects: [{ type: User }], verbs: [Pull] }] }\n`,
      [
        'a.yaml:13: document 2, VirtualRegistry default/all: spec.access.rules[0].subjects[0].type: not supported yet; expected Anonymous',
      ],
    ],
    [
      'half a rule',
      `${sound}  access:\n    rules:\n      - verbs: [Push]\n`,
      [
        'a.yaml:15: document 2, VirtualRegistry default/all: spec.access.rules[0].subjects: required',
        'a.yaml:15: document 2, VirtualRegistry default/all: spec.access.rules[0].verbs[0]: expected Pull',
      ],
    ],
    [
      'a glob of another kind',
      sound.replace('{ name: hub } }]', '{ name: hub }, repositories: { include: ["library/[a-z]"] } }]'),
      [
        'a.yaml:12: document 2, VirtualRegistry default/all: spec.upstreams[0].repositories.include[0]: expected a glob over repository names: lower-case letters, digits, ".", "_", "-", "/", "*", "**", "?"',
      ],
    ],
    [
      'an upstream twice',
      sound.replace(
        '{ upstreamRef: { name: hub } }',
        '{ upstreamRef: { name: hub } }, { upstreamRef: { name: hub } }',
      ),
      ['a.yaml:12: document 2, VirtualRegistry default/all: spec.upstreams: expected each upstream once'],
    ],
    [
      'a dangling reference',
      sound.replace('upstreamRef: { name: hub }', 'upstreamRef: { name: quay }'),
      [
        'a.yaml:12: document 2, VirtualRegistry default/all: spec.upstreams[0].upstreamRef.name: there is no Upstream quay in this namespace',
      ],
    ],
    [
      'a missing Secret',
      sound.replace('url:', 'credentialsSecretRef: { name: login }\n  url:'),
      [
        'a.yaml:5: document 1, Upstream default/hub: spec.credentialsSecretRef.name: there is no Secret login in this namespace',
      ],
    ],
    [
      'the same resource twice',
      `${sound}---\n${upstream}`,
      ['a.yaml:16: document 3, Upstream default/hub: metadata.name: declared twice, first at a.yaml:1'],
    ],
    [
      'paths that overlap',
      `${sound}---\n${registry('hub/x', 'two')}`,
      [
        'a.yaml:18: document 3, VirtualRegistry default/two: spec.path: hub/x lies below hub, the path of default/all',
      ],
    ],
  ])('%s', async (_, text, expected) => {
    expect(await problemsOf(text)).toEqual(expected)
  })

  it('all at once, over all files', async () => {
    const problems = await problemsOf(sound.replace('url:', 'ulr:'), {
      'b.yaml': registry('other', 'all'),
      'c.yaml': 'kind: Pod\n',
    })
    expect(problems).toHaveLength(4)
  })

  it('but not more than a hundred', async () => {
    const problems = await problemsOf('kind: Pod\n---\n'.repeat(150))
    expect(problems).toHaveLength(101)
    expect(problems.at(-1)).toBe('and 50 more')
  })
})

describe('text that is not YAML', () => {
  it.each<[string, string, string[]]>([
    [
      'a missing quote',
      'a: "b\n',
      ['a.yaml:2: document 1: not valid YAML: a quote, bracket, colon or comma is missing'],
    ],
    [
      'a tab',
      `${sound}---\na:\n\tb: c\n`,
      ['a.yaml:15: document 3: not valid YAML: a tab for indentation; use spaces'],
    ],
    [
      'the same key twice',
      'kind: a\nx: 1\nkind: b\n',
      ['a.yaml:3: document 1: not valid YAML: the same key twice'],
    ],
    ['an unknown tag', 'a: !js hunter2\n', ['a.yaml:1: document 1: not valid YAML: an unknown tag ("!")']],
    [
      'two colons',
      'a: b: hunter2\n',
      [
        'a.yaml:1: document 1: not valid YAML: a second ": " in one line (put the text in quotes), or wrong indentation',
      ],
    ],
    [
      'an alias without anchor',
      'a: *hunter2\n',
      ['a.yaml:1: document 1: not valid YAML: an alias without an anchor before it'],
    ],
  ])('%s: is said without repeating it', async (_, text, expected) => {
    expect(await problemsOf(text)).toEqual(expected)
  })

  it('a billion laughs: is refused', async () => {
    const line = (name: string, inner: string) => `${name}: &${name} [${Array(9).fill(inner).join(', ')}]`
    const names = [...'abcdefghi']
    const laughs = names.map((name, at) => line(name, at === 0 ? 'ha' : `*${names[at - 1]}`)).join('\n')
    expect(await problemsOf(laughs)).toEqual([
      'a.yaml: document 1: nested too deeply, or too large with its aliases in place',
    ])
  })

  it.each([
    ['nested too deeply', `${'['.repeat(20_000)}${']'.repeat(20_000)}`],
    ['more than 100 aliases', `a: &a 1\nb: [${'*a, '.repeat(101)}]`],
    ['an alias without an anchor before it', 'a: &a [*a]'],
    ['more than 1000 documents', '---\n'.repeat(2000)],
  ])('%s: is refused', async (words, text) => {
    const [first] = await problemsOf(text)
    expect(first).toContain(words)
  })
})

describe('no value of a Secret is ever said:', () => {
  const canary = 'hunter2'
  const head = 'apiVersion: v1\nkind: Secret\nmetadata: { name: login }\ntype: kubernetes.io/basic-auth\n'
  const base64 = Buffer.from(canary).toString('base64')

  it.each([
    ['a number for a text', `${head}stringData: { username: me, password: 123456 }\n`, '123456'],
    ['plain text for base64', `${head}data: { password: "${canary}!" }\n`, canary],
    ['a text for an object', `${head}stringData: ${canary}\n`, canary],
    ['a list', `${head}stringData: [${canary}]\n`, canary],
    ['a quote too few', `${head}stringData:\n  password: "${canary}\n`, canary],
    ['a quote too many', `${head}stringData:\n  password: "a"${canary}"\n`, canary],
    ['no space', `${head}stringData:\n  username: me\n  password:${canary}\n`, canary],
    ['a tab', `${head}stringData:\n\tpassword: ${canary}\n`, canary],
    ['a tag', `${head}stringData:\n  password: !${canary} x\n`, canary],
    ['an alias', `${head}stringData:\n  password: *${canary}\n`, canary],
    ['a bad escape', `${head}stringData:\n  password: "\\${canary}"\n`, canary],
    ['a percent sign', `${head}stringData:\n  password: %${canary}\n`, canary],
    ['an at sign', `${head}stringData:\n  password: @${canary}\n`, canary],
    [
      'bad JSON',
      `${head.replace('basic-auth', 'dockerconfigjson')}stringData: { .dockerconfigjson: '{"auths": ${canary}' }\n`,
      canary,
    ],
    ['another host', `${head}stringData: { username: ${canary}, password: ${canary} }\n`, canary],
    ['another type', `${head.replace('basic-auth', 'x')}data: { password: ${base64} }\n`, base64],
    ['a wrong indentation', `${head}stringData:\n  username: me\n   password: ${canary}\n`, canary],
    ['the same key twice', `${head}stringData:\n  password: ${canary}\n  password: ${canary}\n`, canary],
  ])('%s', async (_, secret, hidden) => {
    const using = sound.replace('url:', 'credentialsSecretRef: { name: login }\n  url:')
    const problems = await problemsOf(`${using}---\n${secret}`)
    expect(problems.length).toBeGreaterThan(0)
    expect(problems.join('\n')).not.toContain(hidden)
  })
})
