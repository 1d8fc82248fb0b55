/**
 * Small durable JSON objects under keys with slashes: the truth of the cache. Every implementation passes
 * test/contracts/document-store.ts. A key is legal components joined by `/`; `a/_tags/b` may stand beside `a/b/_tags/c`.
 */
export interface DocumentStore {
  /** Undefined when absent. Throws when it cannot tell. */
  get(key: string): Promise<StoredDocument | undefined>

  /**
   * Durable when it resolves. False when the precondition fails: `ifMatch` an etag read before, `ifAbsent` that nothing
   * is there. Without a precondition the last writer wins.
   */
  put(key: string, body: string, condition?: PutCondition): Promise<boolean>

  /** Every key that begins with the prefix, which ends at a slash or is empty; lexical order is not promised. */
  list(prefix: string): AsyncIterable<string>

  /** Deleting an absent document succeeds. */
  delete(key: string): Promise<void>
}

export interface StoredDocument {
  readonly body: string
  readonly etag: string
}

export type PutCondition = { readonly ifMatch: string } | { readonly ifAbsent: true }
