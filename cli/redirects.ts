import type { Log } from '../proxy/log.ts'
import type { RouteDocuments } from '../proxy/routes.ts'

/**
 * Says of each set of routes, where it is another set than before, which registries ask for redirects that nobody can
 * follow: the operator that took them does not know how a proxy stores.
 */
export function createRedirectNotice(
  log: Pick<Log, 'logger'>,
  hasBucket: boolean,
): (documents: RouteDocuments | undefined) => void {
  let known = ''
  return (documents) => {
    const registries = hasBucket ? [] : (documents?.registries ?? [])
    const asking = registries.filter(({ blobDelivery }) => blobDelivery === 'Redirect')
    const names = asking.map(({ namespace, name }) => `${namespace}/${name}`).sort()
    if (names.join() === known) return
    known = names.join()
    if (names.length > 0)
      log.logger.warn(
        { registries: names.slice(0, 100) },
        'blobDelivery: Redirect needs --s3-bucket; the blobs of these registries are sent by the proxy',
      )
  }
}
