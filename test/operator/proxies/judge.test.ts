import { describe, expect, it } from 'vitest'
import { documentName } from '../../../operator/documents.ts'
import {
  countsOf,
  createJudge,
  judgeHealth,
  type ProxyView,
  servedBy,
  sumCounts,
  wordsAbout,
} from '../../../operator/proxies/judge.ts'
import type { ProxyState, UpstreamWord } from '../../../proxy/routes.ts'

const name = { kind: 'VirtualRegistry', namespace: 'a', name: 'all' } as const
const asked = { kind: 'VirtualRegistry', key: 'a/all', revision: 'r2' } as const

function view(more: Partial<ProxyState> = {}, trouble?: string): ProxyView {
  const state: ProxyState = {
    version: 'v',
    proxy: { id: 'p', version: '1' },
    ...{ isReady: true, isDraining: false, registries: {}, upstreams: {}, problems: {}, health: {} },
    ...more,
  }
  return { state, trouble }
}
const serves = (revision: string, more: Partial<ProxyState> = {}) =>
  view({ registries: { 'a/all': revision }, ...more })
const unasked: ProxyView = { state: undefined, trouble: undefined }
const away = (state?: ProxyState): ProxyView => ({ state, trouble: 'ECONNREFUSED' })
const problems = { [documentName(name)]: 'needs what this version cannot do: redirect' }

describe('Programmed', () => {
  it.each<[string, readonly ProxyView[], string, string]>([
    ['all serve it', [serves('r2'), serves('r2')], 'True', 'Programmed'],
    ['one serves an older one', [serves('r2'), serves('r1')], 'False', 'Pending'],
    ['one has none of it', [serves('r2'), view()], 'False', 'Pending'],
    [
      'one that drains has an older one',
      [serves('r2'), serves('r1', { isDraining: true })],
      'True',
      'Programmed',
    ],
    [
      'one that is not ready has an older one',
      [serves('r2'), serves('r1', { isReady: false })],
      'True',
      'Programmed',
    ],
    ['none is ready', [serves('r2', { isReady: false })], 'False', 'NoProxies'],
    ['there is none', [], 'False', 'NoProxies'],
    ['one was not asked yet', [serves('r2'), unasked], 'Unknown', 'NotAsked'],
    ['one cannot be asked', [serves('r2'), away()], 'Unknown', 'ProxyUnreachable'],
    [
      'one cannot be asked that had it',
      [serves('r2'), away(serves('r2').state)],
      'Unknown',
      'ProxyUnreachable',
    ],
    ['one lags and one cannot be asked', [serves('r1'), away()], 'False', 'Pending'],
    ['one cannot take it', [serves('r2'), serves('r1', { problems })], 'False', 'NotTaken'],
    ['one takes it again', [serves('r2', { problems })], 'True', 'Programmed'],
  ])('when %s', (_name, views, status, reason) => {
    expect(createJudge(views)(asked)).toMatchObject({ status, reason })
  })

  it('speaks of an Upstream by the revision of its document', () => {
    const views = [view({ upstreams: { 'a/hub': 'u1' } })]
    const of = (revision: string) => createJudge(views)({ kind: 'Upstream', key: 'a/hub', revision }).status
    expect([of('u1'), of('u2')]).toEqual(['True', 'False'])
  })

  it('says which revision, and the same words however many proxies there are', () => {
    const one = createJudge([serves('r2')])(asked)
    expect(createJudge([serves('r2'), serves('r2'), serves('r2')])(asked)).toEqual(one)
    expect(one).toEqual(servedBy('r2'))
    expect(servedBy('r3')).not.toEqual(one)
    const lagging = createJudge([serves('r1'), serves('r2')])(asked)
    expect(createJudge([serves('r1'), serves('r1')])(asked)).toEqual(lagging)
  })
})

describe('the health of an upstream', () => {
  const used = { id: 'id', revision: 'r' }
  const word = (more: Partial<UpstreamWord> = {}): UpstreamWord => ({ id: 'id', revision: 'r', ...more })
  const trouble = (kind: string, message = 'refused') => ({ trouble: { kind, message } })
  const said = (words: readonly UpstreamWord[]) => {
    const { reachable, credentialsValid } = judgeHealth(words, used)
    return [reachable?.status, reachable?.reason, credentialsValid?.status, credentialsValid?.reason]
  }

  it.each<[string, readonly UpstreamWord[], (string | undefined)[]]>([
    ['nobody said anything', [], [undefined, undefined, undefined, undefined]],
    ['it answers', [word()], ['True', 'Reachable', 'True', 'NotRefused']],
    ['it is away', [word(trouble('unavailable'))], ['False', 'Unavailable', undefined, undefined]],
    ['it is late', [word(trouble('timeout'))], ['False', 'Timeout', undefined, undefined]],
    ['it throttles', [word(trouble('rate-limited'))], ['False', 'RateLimited', undefined, undefined]],
    [
      'it talks nonsense',
      [word(trouble('invalid-response'))],
      ['False', 'InvalidResponse', undefined, undefined],
    ],
    ['it may not be asked', [word(trouble('blocked'))], ['False', 'NotPermitted', undefined, undefined]],
    ['a newer proxy knows a kind', [word(trouble('new'))], ['False', 'Unavailable', undefined, undefined]],
    ['it refuses', [word({ refused: 'no' })], ['True', 'Reachable', 'False', 'CredentialsRefused']],
    ['one of two cannot', [word(), word(trouble('timeout'))], ['False', 'Timeout', 'True', 'NotRefused']],
    [
      'one of two is refused',
      [word(), word({ refused: 'no' })],
      ['True', 'Reachable', 'False', 'CredentialsRefused'],
    ],
    [
      'it was asked with another password',
      [word({ revision: 'old', refused: 'no' })],
      ['True', 'Reachable', undefined, undefined],
    ],
    ['it was asked elsewhere', [word({ id: 'other' })], [undefined, undefined, undefined, undefined]],
  ])('when %s', (_name, words, expected) => {
    expect(said(words)).toEqual(expected)
  })

  it('has the same words in whatever order they were said', () => {
    const words = [
      word(trouble('timeout', 'b')),
      word(trouble('timeout', 'a')),
      word({ refused: 'z' }),
      word(),
    ]
    expect(judgeHealth(words.toReversed(), used)).toEqual(judgeHealth(words, used))
  })
})

it('proxies that cannot be asked, or say nothing of an upstream, have no word about it', () => {
  const word: UpstreamWord = { id: 'id', revision: 'r' }
  const views = [
    view({ health: { 'a/hub': word } }),
    view(),
    unasked,
    view({ health: { 'a/hub': word } }, 'ECONNREFUSED'),
  ]
  expect(wordsAbout(views, 'a/hub')).toEqual([word])
})

describe('the counts of a cache', () => {
  const count = (entries: number, observedTime: string) => ({ entries, bytes: 10 * entries, observedTime })

  const proxy = (id: string) => ({ id, version: '1' })

  it('are added up where each proxy has its own, with the time of the latest', () => {
    const views = [
      view({ proxy: proxy('p'), cache: { 'a/hub': count(1, '2026-01-02') } }),
      view({ proxy: proxy('q'), cache: { 'a/hub': count(2, '2026-01-01') } }),
    ]
    const sum = sumCounts(countsOf(views, 'a/hub'))
    expect(sumCounts(countsOf(views.toReversed(), 'a/hub'))).toEqual(sum)
    expect(sumCounts(countsOf(views, 'a/hub'))).toEqual(count(3, '2026-01-02'))
  })

  it('count once for a proxy that is asked at two addresses', () => {
    const counted = view({ cache: { 'a/hub': count(2, '2026-01-02') } })
    expect(sumCounts(countsOf([counted, counted], 'a/hub'))).toEqual(count(2, '2026-01-02'))
  })

  it('are not known before every proxy has counted, and one may have nothing to count', () => {
    const counted = view({ cache: { 'a/hub': count(1, '2026-01-02') } })
    expect(sumCounts(countsOf([counted, view({ proxy: proxy('q') })], 'a/hub'))).toBeUndefined()
    const empty = view({ proxy: proxy('q'), cache: {} })
    expect(sumCounts(countsOf([counted, empty], 'a/hub'))).toEqual(count(1, '2026-01-02'))
  })
})
