/** There is no such bucket, or it is elsewhere: a person must change a setting. */
export class BucketSettingsError extends Error {
  override readonly name = 'BucketSettingsError'
}
