import { readFileSync } from 'node:fs'
import { KubeConfig } from '@kubernetes/client-node'
import { namespacePattern } from '../operator/api/patterns.ts'
import { type FlagValues, UsageError } from './flags.ts'

export interface ClusterSettings {
  readonly kubeConfig: KubeConfig
  readonly namespace: string
  readonly routesNamespace: string
}

/** Adds what is wrong to `problems`; the settings are whole only when nothing was. */
export function readClusterSettings(
  values: FlagValues,
  environment: NodeJS.ProcessEnv,
  problems: string[],
): ClusterSettings {
  const namespace = values.get('namespace')?.at(-1) ?? ''
  const routesNamespace = values.get('routes-namespace')?.at(-1) ?? `${namespace}-routes`
  for (const [name, value] of Object.entries({ namespace, 'routes-namespace': routesNamespace })) {
    if (!isNamespace(value))
      problems.push(`--${name}: ${JSON.stringify(value)} is not the name of a namespace`)
  }
  if (namespace === routesNamespace) {
    problems.push('--routes-namespace: must be another than --namespace, as it may hold nothing else')
  }
  const kubeConfig = readKubeConfig(values.get('kubeconfig')?.at(-1), environment, problems)
  return { kubeConfig, namespace, routesNamespace }
}

export function isNamespace(text: string): boolean {
  return text.length <= 63 && namespacePattern.test(text)
}

function readKubeConfig(
  file: string | undefined,
  environment: NodeJS.ProcessEnv,
  problems: string[],
): KubeConfig {
  const config = new KubeConfig()
  if (file === undefined) {
    if (environment.KUBERNETES_SERVICE_HOST === undefined) {
      problems.push('--kubeconfig: is needed outside of a pod')
      return config
    }
    config.loadFromCluster()
    return config
  }
  try {
    readFileSync(file)
    config.loadFromFile(file)
    if (!config.getCurrentCluster()) problems.push(`--kubeconfig: ${file}: names no current cluster`)
  } catch (error) {
    // what the parser says may have a token in it
    const { code } = error as NodeJS.ErrnoException
    problems.push(`--kubeconfig: ${file}: ${code ?? 'is no kubeconfig'}`)
  }
  return config
}

/** For commands without flags of their own to read beside it. */
export function orUsageError<T>(settings: T, problems: readonly string[]): T {
  if (problems.length > 0) throw new UsageError(problems)
  return settings
}
