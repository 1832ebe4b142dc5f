import { fileURLToPath } from 'node:url';
import { ErrnoError } from '../protocol/error.js';
import { decodeText, textBytes } from '../protocol/text.js';
import { invalidArgType, invalidArgValue } from './errors.js';

/** What names a file: text, its bytes, or a `file:` URL. Relative paths begin at the attached root, as absolute ones do. */
export type PathLike = string | Uint8Array | URL;

/** The text of a path. Bytes that are not UTF-8 survive as protocol/text.ts has them. */
export function toPath(value: unknown, name = 'path'): string {
  let path: string;
  if (typeof value === 'string') path = value;
  else if (value instanceof Uint8Array) path = decodeText(value);
  else if (value instanceof URL) {
    // On Windows Node wants a drive in a file: URL, and a 9P tree has none.
    path = process.platform === 'win32' && value.protocol === 'file:' ? decodeURIComponent(value.pathname) : fileURLToPath(value);
  } else throw invalidArgType(name, 'of type string or an instance of Buffer or URL', value);
  if (path.includes('\0')) throw invalidArgValue(name, value, 'must be a string, Uint8Array, or URL without null bytes');
  return path;
}

/** Bytes of a path at most, as for Linux (PATH_MAX, with the NUL at its end). A tree that is made up may be deep without end. */
const PATH_MAX = 4096;

/** The path; ENAMETOOLONG where there can be none of that length. */
export function checkLength(path: string): string {
  if (path.length * 3 >= PATH_MAX && textBytes(path) >= PATH_MAX) throw new ErrnoError('ENAMETOOLONG');
  return path;
}

/** A path in its parts. */
export interface PathParts {
  /** Names and ".."; "." and empty ones are left out. */
  readonly names: readonly string[];
  /** It ends in "/" or ".", so what it names must be a directory (POSIX 4.16). */
  readonly directory: boolean;
  readonly absolute: boolean;
  /** The last part as it was written: a name, ".", "..", or "" if there is none but slashes. */
  readonly last: string;
}

export function splitPath(path: string): PathParts {
  const parts = path.split('/');
  const names = parts.filter((part) => part !== '' && part !== '.');
  const written = parts.filter((part) => part !== '');
  return {
    names,
    directory: path.endsWith('/') || parts[parts.length - 1] === '.',
    absolute: path.startsWith('/'),
    last: written[written.length - 1] ?? '',
  };
}

/** `name` below `directory`, as Node joins them for entries. */
export function below(directory: string, name: string): string {
  if (directory === '' || directory === '.') return name;
  return directory.endsWith('/') ? `${directory}${name}` : `${directory}/${name}`;
}
