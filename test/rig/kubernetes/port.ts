import { createServer } from 'node:net'

const picked = new Set<number>()

/**
 * A free port below those that the kernel gives to connections, so that nothing takes it while its server is stopped
 * and started again. Nobody of this process is given it twice; another process may still be faster (`onFreePort`).
 */
export async function pickPort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 12_000 + Math.floor(Math.random() * 18_000)
    if (picked.has(port) || !(await isFree(port))) continue
    picked.add(port)
    return port
  }
  throw new Error('no free port')
}

/** Starts a program on a port that was free, and on another one where somebody took it meanwhile. */
export async function onFreePort<T>(start: (port: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(await pickPort())
    } catch (error) {
      if (attempt === 3 || !/address already in use|EADDRINUSE/.test(String(error))) throw error
    }
  }
}

export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
