import { afterAll, it } from 'vitest'
import { describeWithParts } from '../rig/describe-with-parts.ts'
import { expectWithinBounds, type LossStory, loseLeaders, losses } from '../rig/leader-loss.ts'
import { writeMeasurement } from './measurement.ts'

const isShort = process.env.HEADWATER_SHORT === '1'
const times = isShort ? 3 : 20

describeWithParts(['redis-server', 'versitygw'], 'a fill whose leader is lost', () => {
  const measured: LossStory[] = []
  afterAll(() => {
    if (measured.length === losses.length * times && !isShort)
      writeMeasurement('leader-loss', tableOf(measured))
  })

  it.each(losses)(`ends well for the clients of the others, ${times} times: %s`, async (loss) => {
    const stories = await loseLeaders(loss, times)
    measured.push(...stories)
    expectWithinBounds(stories)
  })
})

function tableOf(stories: readonly LossStory[]): string[] {
  const rows = losses.map((loss) => {
    const of = stories.filter((story) => story.loss === loss)
    const shares = of.map(({ share }) => share)
    const beyond = of.filter(({ share, most }) => share > most).length
    const waits = of.map(({ longestWaitMs }) => longestWaitMs)
    const cells = [
      loss,
      of.length,
      figures(shares, 2),
      beyond,
      figures(
        waits.map((ms) => ms / 1000),
        1,
      ),
    ]
    return `| ${cells.join(' | ')} |`
  })
  return [
    'Three replicas over one Redis and one bucket, two clients at each, one cold layer of 50 MiB from an upstream with 30 ms',
    'latency that sends 12 MB/s. At a random moment the leader is lost; the clients of the others all get the right bytes.',
    'The upstream may send 1.3 times the layer; in the last two rows it may send once more what a leader that lives on had',
    'not yet: its own clients read it. Each figure is a median and the highest.',
    '',
    '| loss | rounds | sent, of the layer | rounds beyond | longest wait of a client, s |',
    '|---|---|---|---|---|',
    ...rows,
  ]
}

function figures(values: readonly number[], digits: number): string {
  const sorted = values.toSorted((a, b) => a - b)
  const [median = Number.NaN, highest = Number.NaN] = [sorted[Math.floor(sorted.length / 2)], sorted.at(-1)]
  return `${median.toFixed(digits)}, ${highest.toFixed(digits)}`
}
