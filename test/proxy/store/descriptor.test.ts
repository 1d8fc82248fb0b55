import { fstatSync, openSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createDescriptor } from '../../../proxy/store/descriptor.ts'
import { temporaryFolder } from './temporary-folder.ts'

it('a descriptor is closed only after what runs on it, and takes nothing new meanwhile', async () => {
  const file = join(await temporaryFolder(), 'file')
  await writeFile(file, 'hello')
  const number = openSync(file, 'r')
  const descriptor = createDescriptor(number)
  const working = descriptor.during(async (fd) => {
    await setTimeout(50)
    return fstatSync(fd).size
  })
  const closed = descriptor.close()
  await expect(descriptor.during(async () => 1)).rejects.toThrow('closed')
  expect(() => descriptor.read(Buffer.alloc(1), 1, 0)).toThrow('closed')
  expect(await working).toBe(5)
  await closed
  await descriptor.close()
  expect(() => fstatSync(number)).toThrow('EBADF')
})

it('a descriptor is closed after work that failed, too', async () => {
  const file = join(await temporaryFolder(), 'file')
  await writeFile(file, 'hello')
  const number = openSync(file, 'r')
  const descriptor = createDescriptor(number)
  const failing = descriptor.during(() => Promise.reject(new Error('no')))
  const closed = descriptor.close()
  await expect(failing).rejects.toThrow('no')
  await closed
  expect(() => fstatSync(number)).toThrow('EBADF')
})
