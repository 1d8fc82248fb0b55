import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { createLogger, type LogLevel } from '../../proxy/log.ts'

function collect(options: { level?: LogLevel; format?: 'json' | 'pretty' } = {}) {
  const texts: string[] = []
  const destination = {
    write: (text: string) => void texts.push(text),
    flush: async () => {},
    flushSync: () => {},
  }
  const log = createLogger({ level: 'info', format: 'json', ...options, destination })
  return {
    log,
    texts,
    lines: () =>
      texts
        .join('')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
  }
}

it('gathers lines and writes them together, in order', () => {
  const { log, texts, lines } = collect()
  log.logger.info({ n: 1 }, 'one')
  log.writeLine('{"n":2}\n')
  log.logger.warn({ n: 3 }, 'three')
  expect(texts).toEqual([])
  log.flushSync()
  expect(texts).toHaveLength(1)
  expect(lines().map(({ n }) => n)).toEqual([1, 2, 3])
})

it('writes by itself, soon', async () => {
  const { log, texts } = collect()
  log.logger.info('hello')
  await expect.poll(() => texts.length).toBe(1)
})

it('writes at once when there is much', () => {
  const { log, texts } = collect()
  for (let index = 0; index < 1000; index++)
    log.writeLine(`${JSON.stringify({ index, text: 'x'.repeat(100) })}\n`)
  expect(texts.length).toBeGreaterThan(1)
})

it('leaves out what is below its level', () => {
  const { log, lines } = collect({ level: 'warn' })
  log.logger.info('quiet')
  log.logger.error('loud')
  log.flushSync()
  expect(lines().map(({ msg }) => msg)).toEqual(['loud'])
})

it('T30: keeps a line one line, whatever is in it', () => {
  const { log, lines } = collect()
  log.logger.info({ userAgent: 'x\n{"level":60}\u2028\u0007' }, 'request')
  log.flushSync()
  expect(lines()).toEqual([expect.objectContaining({ userAgent: 'x\n{"level":60}\u2028\u0007' })])
})

it('tells of an error what is known to be harmless, and of its causes', () => {
  const { log, texts, lines } = collect()
  const cause = Object.assign(new Error('refused'), {
    code: 'ECONNREFUSED',
    headers: { authorization: 'canary' },
  })
  const err = Object.assign(new Error('failed', { cause }), { request: { password: 'canary' } })
  log.logger.error({ err, password: 'canary', token: 'canary' }, 'failed')
  log.flushSync()
  expect(lines()[0].err).toMatchObject({
    message: 'failed',
    stack: expect.any(String),
    cause: { message: 'refused', code: 'ECONNREFUSED' },
  })
  expect(texts.join('')).not.toContain('canary')
})

it('writes for eyes when asked to', () => {
  const { log, texts } = collect({ format: 'pretty' })
  log.logger.info({ registry: 'team/hub', bytes: 5, text: 'a b' }, 'request')
  log.logger.error({ err: new Error('oh') }, 'failed')
  log.flushSync()
  expect(texts.join('')).toMatch(
    /^\d\d:\d\d:\d\d\.\d{3} INFO request registry=team\/hub bytes=5 text="a b"\n.* ERROR failed\nError: oh\n {4}at /,
  )
})

it('writes to a file that it creates, and has written when flushed', async () => {
  const file = join(await mkdtemp(join(tmpdir(), 'log-')), 'deep', 'headwater.log')
  const log = createLogger({ level: 'info', format: 'json', destination: file })
  for (let index = 0; index < 5000; index++) log.logger.info({ index }, 'line')
  await log.flush()
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n')
  expect(lines).toHaveLength(5000)
  expect(JSON.parse(lines.at(-1)!)).toMatchObject({ index: 4999 })
})

it('loses lines, and nothing else, when its destination cannot be written', async () => {
  const log = createLogger({ level: 'info', format: 'json', destination: '/dev/full' })
  for (let index = 0; index < 1000; index++) log.logger.info({ index, text: 'x'.repeat(200) }, 'line')
  await new Promise((resolve) => setTimeout(resolve, 200))
  log.logger.info('still here')
  log.flushSync()
})
