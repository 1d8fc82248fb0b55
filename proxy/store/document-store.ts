/**
 * Small durable JSON objects under keys with slashes: the truth of the cache. Every implementation passes
 * test/contracts/document-store.ts. A key is legal components joined by `/` (see `checkDocumentKey`); `a/_tags/b` may stand
 * beside `a/b/_tags/c`, but no key is the beginning of another's path.
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

  /** Durable when it resolves. Deleting an absent document succeeds. */
  delete(key: string): Promise<void>
}

export interface StoredDocument {
  readonly body: string
  readonly etag: string
}

export type PutCondition = { readonly ifMatch: string } | { readonly ifAbsent: true }

/** Beyond this no manifest that we accept can lead. */
export const maxDocumentBytes = 16 * 1024 * 1024

const componentPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]*$/

/**
 * A component is as long as a repository's may be, or a tag's when it has capitals; none begins with a dot, so there is
 * no `..`. Throws for anything else: keys are built from what was parsed, so a bad one is a mistake of ours.
 */
export function checkDocumentKey(key: string): void {
  for (const component of key.split('/')) {
    const longest = /[A-Z]/.test(component) ? 128 : 255
    if (component.length > longest || !componentPattern.test(component)) {
      throw new Error(`not a document key: ${JSON.stringify(key.slice(0, 200))}`)
    }
  }
}
