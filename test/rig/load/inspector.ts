import type { Headwater } from '../headwater.ts'

/** Give it to a process's environment to be able to look into its heap: its inspector waits for SIGUSR1, on any port. */
export const inspectable = { NODE_OPTIONS: '--inspect-port=127.0.0.1:0' }

/** Bytes of the heap that are in use once everything unreachable is gone. */
export async function heapAfterCollection(headwater: Headwater): Promise<number> {
  const socket = new WebSocket(await inspectorOf(headwater))
  await new Promise((resolve, reject) => {
    socket.onopen = resolve
    socket.onerror = () => reject(new Error('the inspector does not answer'))
  })
  let id = 0
  const ask = (method: string) =>
    new Promise<{ usedSize?: number }>((resolve) => {
      const asked = ++id
      socket.addEventListener('message', function hear({ data }) {
        const { id: answered, result } = JSON.parse(String(data)) as { id?: number; result: object }
        if (answered !== asked) return
        socket.removeEventListener('message', hear)
        resolve(result)
      })
      socket.send(JSON.stringify({ id: asked, method }))
    })
  // twice: what the first lets go of may be all that holds more
  await ask('HeapProfiler.collectGarbage')
  await ask('HeapProfiler.collectGarbage')
  const { usedSize } = await ask('Runtime.getHeapUsage')
  socket.close()
  return usedSize!
}

/** It says where it is once, and a log that grows long forgets its beginning. */
const inspectors = new WeakMap<Headwater, string>()

async function inspectorOf(headwater: Headwater): Promise<string> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const said = /Debugger listening on (?<url>ws:\/\/\S+)/.exec(headwater.log())?.groups?.url
    const url = inspectors.get(headwater) ?? said
    if (url !== undefined) {
      inspectors.set(headwater, url)
      return url
    }
    if (attempt === 0) headwater.signal('SIGUSR1')
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('the process cannot be inspected')
}
