import { describeRedirects } from '../../rig/clients/describe-redirects.ts'

describeRedirects(['crane pull', 'skopeo copy', 'ctr images pull'])
