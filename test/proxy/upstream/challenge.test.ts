import { expect, it } from 'vitest'
import { parseChallenges } from '../../../proxy/upstream/challenge.ts'

const hub =
  'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"'

it.each([
  [[hub], ['bearer realm=https://auth.docker.io/token service=registry.docker.io scope=repository:a/b:pull']],
  [
    ['Basic realm="x"', hub],
    ['basic realm=x', expect.stringMatching(/^bearer realm=https:/)],
  ],
  [[`Basic realm="x", ${hub}`], ['basic realm=x', expect.stringMatching(/^bearer realm=https:/)]],
  [
    [`${hub}, Basic realm="x"`],
    [expect.stringMatching(/^bearer .* scope=repository:a\/b:pull$/), 'basic realm=x'],
  ],
  [['Negotiate, Basic realm="x"'], ['negotiate', 'basic realm=x']],
  [['Negotiate YII==, Basic realm="x"'], ['negotiate', 'basic realm=x']],
  [['Negotiate'], ['negotiate']],
  [['BEARER Realm = "https://a/"  ,  Service=b'], ['bearer realm=https://a/ service=b']],
  [[String.raw`Bearer realm="a \"quoted, \\ one"`], [String.raw`bearer realm=a "quoted, \ one`]],
  [['Bearer realm="x, Basic realm=\\"y\\""'], ['bearer realm=x, Basic realm="y"']],
  [['Bearer realm=""'], ['bearer realm=']],
  [[',, ,Basic realm=x,,'], ['basic realm=x']],
  [['Bearer realm="https://good/", realm="https://evil/"'], []],
  [['Bearer realm="never ends'], []],
  [['Basic realm="x", Bearer realm='], ['basic realm=x', 'bearer']],
  [['Basic realm="x" \u0000 Bearer realm="y"'], ['basic realm=x']],
  [['', '   ', '"'], []],
  [[`Bearer realm="${'x'.repeat(9000)}"`], []],
])('reads %j', (headers, expected) => {
  const read = parseChallenges(headers).map(({ scheme, parameters }) =>
    [scheme, ...[...parameters].map(([name, value]) => `${name}=${value}`)].join(' '),
  )
  expect(read).toEqual(expected)
})

it('takes no time worth speaking of for a hostile header', () => {
  const started = performance.now()
  for (const unit of ['\\"', 'a=', ' ,', '"a', 'a ', '=']) parseChallenges([`Bearer a="${unit.repeat(4000)}`])
  expect(performance.now() - started).toBeLessThan(500)
})
