import { compileGlobs } from '../oci/glob.ts'
import type { RegistryRoute } from '../routes.ts'

/** Whether anybody at all may pull a repository of this registry. Without a rule, nobody may. */
export function compileAnonymousAccess({ access }: RegistryRoute): (repository: string) => boolean {
  const rules = access.rules
    .filter(
      ({ subjects, verbs }) => verbs.includes('Pull') && subjects.some(({ type }) => type === 'Anonymous'),
    )
    .map(({ repositories }) => compileGlobs(repositories))
  return (repository) => rules.some((matches) => matches(repository))
}
