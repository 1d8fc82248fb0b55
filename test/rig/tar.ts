import { crc32 } from 'node:zlib'
import { bytesSource, concatSources, type Source } from './source.ts'

export interface TarFile {
  readonly name: string
  readonly content: Source
}

/** A tar archive as layers are, read as it is wanted: the files may be of any size. */
export function tarSource(files: readonly TarFile[]): Source {
  const parts = files.flatMap(({ name, content }) => [
    bytesSource(header(name, content.size)),
    content,
    bytesSource(Buffer.alloc((512 - (content.size % 512)) % 512)),
  ])
  return concatSources([...parts, bytesSource(Buffer.alloc(1024))])
}

/** A ustar header of a plain file that belongs to root, dated 2001-09-09 so that archives do not change. */
function header(name: string, size: number): Buffer {
  const block = Buffer.alloc(512)
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, '0')
  block.write(name, 0)
  block.write(`${octal(0o644, 7)}\0${octal(0, 7)}\0${octal(0, 7)}\0`, 100)
  block.write(`${octal(size, 11)}\0${octal(1_000_000_000, 11)}\0`, 124)
  block.write(' '.repeat(8), 148)
  block.write('0', 156)
  block.write('ustar\x0000', 257)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${octal(sum, 6)}\0 `, 148)
  return block
}

/**
 * The same in gzip's format with stored blocks: what clients insist on, at no cost and with a size known beforehand.
 * https://www.rfc-editor.org/rfc/rfc1951#page-11
 */
export function gzipSource(plain: Source): Source {
  const step = 65_535
  const blocks: Source[] = []
  for (let at = 0; at === 0 || at < plain.size; at += step) {
    const size = Math.min(step, plain.size - at)
    const head = Buffer.alloc(5)
    head.writeUInt8(at + size >= plain.size ? 1 : 0, 0)
    head.writeUInt16LE(size, 1)
    head.writeUInt16LE(~size & 0xffff, 3)
    blocks.push(bytesSource(head), { size, read: (start, end) => plain.read(at + start, at + end) })
  }
  let checksum = 0
  for (const piece of plain.read(0, plain.size)) checksum = crc32(piece, checksum)
  const tail = Buffer.alloc(8)
  tail.writeUInt32LE(checksum, 0)
  tail.writeUInt32LE(plain.size % 2 ** 32, 4)
  const magic = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255])
  return concatSources([bytesSource(magic), ...blocks, bytesSource(tail)])
}
