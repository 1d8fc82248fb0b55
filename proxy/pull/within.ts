/** The promise's result, or the other one when it takes longer; it then goes on unwatched. */
export async function within<T>(ms: number, promise: Promise<T>, late: () => T): Promise<T> {
  promise.catch(() => {})
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<T>((resolve) => {
    timer = setTimeout(() => resolve(late()), ms)
  })
  try {
    return await Promise.race([promise, timeout])
  } finally {
    clearTimeout(timer)
  }
}
