import type { DatabaseSync, StatementSync } from 'node:sqlite'

/** Every question the index asks of its tables (`sqlite-file.ts`). */
export function prepareStatements(database: DatabaseSync) {
  const sql = (text: string): StatementSync => database.prepare(text)
  return {
    pageCount: sql('PRAGMA page_count'),
    isComplete: sql('SELECT 1 FROM complete'),
    markComplete: sql('INSERT OR IGNORE INTO complete VALUES (1)'),

    getTag: sql('SELECT * FROM tags WHERE upstream = ? AND repository = ? AND tag = ?'),
    putTag: sql(`
      INSERT INTO tags (upstream, repository, tag, digest, media_type, size, written_at, checked_at, walks)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET digest = excluded.digest, media_type = excluded.media_type, size = excluded.size,
        written_at = excluded.written_at, checked_at = excluded.checked_at, walks = excluded.walks
      WHERE (excluded.written_at, excluded.checked_at) >= (written_at, checked_at)`),
    touchTag: sql(`
      UPDATE tags SET checked_at = ? WHERE upstream = ? AND repository = ? AND tag = ? AND digest = ?`),
    deleteTag: sql('DELETE FROM tags WHERE upstream = ? AND repository = ? AND tag = ?'),

    getLink: sql('SELECT * FROM links WHERE upstream = ? AND repository = ? AND kind = ? AND digest = ?'),
    putLink: sql(`
      INSERT INTO links (upstream, repository, kind, digest, media_type, size, origin, children, subject)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET media_type = excluded.media_type, size = excluded.size, origin = excluded.origin,
        children = excluded.children, subject = excluded.subject`),
    deleteLink: sql('DELETE FROM links WHERE upstream = ? AND repository = ? AND kind = ? AND digest = ?'),

    putMention: sql(`
      INSERT OR IGNORE INTO mentions (upstream, repository, digest, manifest, kind, media_type, size)
      VALUES (?, ?, ?, ?, ?, ?, ?)`),
    deleteMentions: sql('DELETE FROM mentions WHERE upstream = ? AND repository = ? AND manifest = ?'),
    getMention: sql('SELECT * FROM mentions WHERE upstream = ? AND repository = ? AND digest = ? LIMIT 1'),
    getPossession: sql('SELECT size FROM links WHERE origin = ? AND digest = ? LIMIT 1'),

    useTag: sql(`
      UPDATE tags SET used_at = max(coalesce(used_at, 0), ?), downloads = downloads + ?
      WHERE upstream = ? AND repository = ? AND tag = ?`),
    useLink: sql(`
      UPDATE links SET used_at = max(coalesce(used_at, 0), ?), downloads = downloads + ?
      WHERE upstream = ? AND repository = ? AND kind = ? AND digest = ?`),

    listTags: sql(`
      SELECT * FROM tags WHERE upstream = ? AND (repository, tag) > (?, ?) ORDER BY repository, tag LIMIT ?`),
    listLinks: sql(`
      SELECT * FROM links WHERE upstream = ? AND (repository, kind, digest) > (?, ?, ?)
      ORDER BY repository, kind, digest LIMIT ?`),
    nextUpstream: sql(`
      SELECT min(upstream) AS upstream FROM (
        SELECT min(upstream) AS upstream FROM tags WHERE upstream > ?
        UNION ALL SELECT min(upstream) FROM links WHERE upstream > ?)`),
  }
}
