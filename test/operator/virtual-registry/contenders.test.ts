import { expect, it } from 'vitest'
import { contendersOf } from '../../../operator/virtual-registry/contenders.ts'
import { createWorld } from '../../../operator/world.ts'
import { createFakeCluster, grants, resource, routesNamespace } from '../fake-cluster.ts'

it('works out once what a registry wants, however often others on its ground are looked at', async () => {
  const fake = createFakeCluster()
  for (const name of ['one', 'two', 'three']) {
    fake.apply(
      'virtualregistries',
      resource('VirtualRegistry', name, { upstreams: [{ upstreamRef: { name: 'hub' } }] }),
    )
  }
  const ending = new AbortController()
  const world = createWorld({ client: fake.client, routesNamespace, watchNamespaces: [], grants })
  const running = world.run(ending.signal)
  await world.synced
  const [first, ...others] = world.registries.values().map((each) => contendersOf(each, world))
  ending.abort()
  await running

  const wantedOf = (contenders: typeof first) =>
    new Map(contenders!.map(({ name, wanted }) => [name, wanted]))
  expect([...wantedOf(first).values()].map((wanted) => wanted?.path).toSorted()).toEqual([
    ...['default/one', 'default/three', 'default/two'],
  ])
  expect(others).toHaveLength(2)
  for (const contenders of others) {
    for (const [name, wanted] of wantedOf(contenders)) expect(wanted).toBe(wantedOf(first).get(name))
  }
})
