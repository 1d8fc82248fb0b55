import { createLocalLeases } from '../../../proxy/store/leases.ts'
import { describeLeases } from '../../contracts/leases.ts'

describeLeases('those of one process', async () => createLocalLeases(() => performance.now()))
