/** For `await using`. */
export function closing<T extends { close(): Promise<unknown> }>(it: T): { it: T } & AsyncDisposable {
  return {
    it,
    async [Symbol.asyncDispose]() {
      await it.close()
    },
  }
}
