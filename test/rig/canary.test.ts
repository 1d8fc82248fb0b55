import { expect, it } from 'vitest'
import { expectCanaries, linesWithSecrets } from './canary.ts'

it.each([
  'password: canary-x',
  ...['', 'u:', 'user:', 'puller:'].map((before) => Buffer.from(`${before}canary-secret`).toString('base64')),
  'Bearer eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJoIn0.c2ln',
  '-----BEGIN PRIVATE KEY-----',
])('finds the secret in %j', (text) => {
  expect(linesWithSecrets(`first\n${text}\nlast`)).toEqual([text])
})

it('finds none in what is none', () => {
  expect(linesWithSecrets('{"digest":"sha256:0c","requestId":"ff925781-0","eyJ":"canaries"}')).toEqual([])
})

it('refuses a password that it could not find', () => {
  const secret = (password: string) => ({
    kind: 'Secret',
    metadata: { name: 'login' },
    stringData: { password },
  })
  expect(() => expectCanaries([secret('canary-1')])).not.toThrow()
  expect(() => expectCanaries([secret('hunter2')])).toThrow(/login/)
})
