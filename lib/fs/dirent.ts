import type { Dirent as NodeDirent } from 'node:fs';
import { DT_BLK, DT_CHR, DT_DIR, DT_FIFO, DT_LNK, DT_REG, DT_SOCK, DT_UNKNOWN, QTDIR, QTSYMLINK, S_IFMT } from '../protocol/constants.js';
import type { DirectoryEntry } from '../protocol/types.js';

/** As `fs.Dirent`: one entry of a directory, and what it is. */
export class Dirent<Name extends string | Buffer = string> implements NodeDirent<Name> {
  readonly name: Name;
  /** The directory, as the caller wrote it. */
  readonly parentPath: string;
  readonly path: string;
  readonly #type: number;

  /** `type` is a DT_* number. */
  constructor(name: Name, type: number, parentPath: string) {
    this.name = name;
    this.parentPath = parentPath;
    this.path = parentPath;
    this.#type = type;
  }

  isFile(): boolean {
    return this.#type === DT_REG;
  }
  isDirectory(): boolean {
    return this.#type === DT_DIR;
  }
  isSymbolicLink(): boolean {
    return this.#type === DT_LNK;
  }
  isFIFO(): boolean {
    return this.#type === DT_FIFO;
  }
  isSocket(): boolean {
    return this.#type === DT_SOCK;
  }
  isBlockDevice(): boolean {
    return this.#type === DT_BLK;
  }
  isCharacterDevice(): boolean {
    return this.#type === DT_CHR;
  }
}

/**
 * What an entry is, as a DT_* number; DT_UNKNOWN where only a Tgetattr can tell. QEMU's mapped models give no type (interop: readdir.qid), and a
 * qid tells directories and symlinks from the rest.
 */
export function entryType({ type, qid }: DirectoryEntry): number {
  if (type !== DT_UNKNOWN) return type;
  if ((qid.type & QTDIR) !== 0) return DT_DIR;
  return (qid.type & QTSYMLINK) !== 0 ? DT_LNK : DT_UNKNOWN;
}

/** The DT_* number for st_mode. */
export function modeType(mode: number): number {
  return (mode & S_IFMT) >> 12;
}
