import { join } from 'node:path'
import { stringify } from 'yaml'
import { createCrd } from '../../operator/api/crd.ts'
import { group, kinds } from '../../operator/api/kinds.ts'

/** The files of `crds/` as they are generated, by name. */
export function crdFiles(): ReadonlyMap<string, string> {
  return new Map(kinds.map((kind) => [join('crds', `${group}_${kind.plural}.yaml`), fileOf(createCrd(kind))]))
}

function fileOf(crd: unknown): string {
  const yaml = stringify(crd, { lineWidth: 0, aliasDuplicateObjects: false })
  return `# Generated from operator/api by "npm run generate".\n---\n${yaml}`
}
