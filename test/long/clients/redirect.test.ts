import { describeRedirects } from '../../rig/clients/describe-redirects.ts'

describeRedirects(['docker pull', 'podman pull', 'regctl image copy --referrers'])
