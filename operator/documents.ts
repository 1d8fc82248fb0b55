import { createHash } from 'node:crypto'
import {
  featuresOf,
  type RegistryRoute,
  type RouteDocument,
  routeSecretKey,
  routeSecretType,
  type UpstreamRoute,
} from '../proxy/routes.ts'
import { type Owner, ownerAnnotations, type SeenDocument } from './observed.ts'
import type { SecretToApply } from './runtime/cluster.ts'
import { isSame } from './runtime/conditions.ts'

/** The name of the Secret that has the document of this object, whether there is one or not. */
export function documentName({ kind, namespace, name }: Owner): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([namespace, name]))
    .digest('hex')
  return `${kind === 'Upstream' ? 'upstream' : 'registry'}-${digest.slice(0, 40)}`
}

/** The document that is to be there; the one that is there, unless something in it is another. */
export function nextDocument(
  route: UpstreamRoute | RegistryRoute,
  previous: RouteDocument | undefined,
  newRevision: () => string,
): RouteDocument {
  const features = featuresOf(route)
  if (previous !== undefined && isSame(previous.route, route) && isSame(previous.features, features)) {
    return previous
  }
  return { features, revision: newRevision(), route }
}

export function secretOf(document: RouteDocument): SecretToApply {
  const { kind, namespace, name } = document.route
  return {
    name: documentName({ kind, namespace, name }),
    type: routeSecretType,
    labels: { 'app.kubernetes.io/managed-by': 'headwater-operator' },
    annotations: annotationsOf({ kind, namespace, name }),
    data: { [routeSecretKey]: Buffer.from(JSON.stringify(document)).toString('base64') },
  }
}

/** Whether it says whose it is: somebody may have taken that away, or written another there. */
export function isMarked({ metadata }: SeenDocument, owner: Owner): boolean {
  return Object.entries(annotationsOf(owner)).every(([name, value]) => metadata.annotations[name] === value)
}

function annotationsOf({ kind, namespace, name }: Owner): Readonly<Record<string, string>> {
  return {
    [ownerAnnotations.kind]: kind,
    [ownerAnnotations.namespace]: namespace,
    [ownerAnnotations.name]: name,
  }
}
