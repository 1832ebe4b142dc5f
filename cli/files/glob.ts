import type { FileSystem } from '../../lib/index.js';

/** Only what is behind an address is looked through: for local paths the shell does it. */
type Files = Pick<FileSystem, 'lstat' | 'readdir'>;

const MAGIC = /[*?[\]\\]/;

/** A part of a pattern, as a regular expression. `*` and `?` pass over names that begin with a dot, as in a shell. */
export function matcher(pattern: string): RegExp {
  let source = /^[*?[]/.test(pattern) ? '(?!\\.)' : '';
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at] as string;
    const close = char === '[' ? pattern.indexOf(']', at + (pattern[at + 1] === '!' || pattern[at + 1] === '^' ? 3 : 2)) : -1;
    if (char === '*') source += '[^/]*';
    else if (char === '?') source += '[^/]';
    else if (char === '\\' && at + 1 < pattern.length) source += literal(pattern[++at] as string);
    else if (close > 0) {
      const set = pattern.slice(at + 1, close);
      source += `[${set.startsWith('!') || set.startsWith('^') ? `^${klass(set.slice(1))}` : klass(set)}]`;
      at = close;
    } else source += literal(char);
  }
  return new RegExp(`^${source}$`, 's');
}

function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}

function klass(set: string): string {
  return set.replace(/[\\\]^[]/g, '\\$&');
}

function unquoted(pattern: string): string {
  return pattern.replace(/\\(.)/gs, '$1');
}

/** The paths that a pattern matches, sorted; itself if it holds nothing special or names a file as it stands. ENOENT for none. */
export async function expand(fs: Files, pattern: string): Promise<string[]> {
  if (!MAGIC.test(pattern)) return [pattern];
  if (await exists(fs, pattern)) return [pattern];
  const parts = pattern.split('/').filter((part) => part !== '');
  let found = ['/'];
  for (const [index, part] of parts.entries()) {
    const last = index === parts.length - 1;
    const next: string[] = [];
    for (const directory of found) {
      if (part === '**') next.push(directory, ...(await below(fs, directory, last)));
      else if (!MAGIC.test(part)) next.push(child(directory, unquoted(part)));
      else {
        const match = matcher(part);
        for (const entry of await entries(fs, directory)) if (match.test(entry.name)) next.push(child(directory, entry.name));
      }
    }
    found = [...new Set(next)];
  }
  const there: string[] = [];
  for (const path of found) if (await exists(fs, path)) there.push(path);
  if (there.length === 0) {
    throw Object.assign(new Error(`ENOENT: nothing matches, glob '${pattern}'`), { code: 'ENOENT', errno: -2, path: pattern });
  }
  return there.sort();
}

/** The directories below, and the files too if nothing follows. Hidden ones and symlinks are passed over. */
async function below(fs: Files, directory: string, files: boolean): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await entries(fs, directory)) {
    if (entry.name.startsWith('.')) continue;
    const path = child(directory, entry.name);
    if (entry.isDirectory()) found.push(path, ...(await below(fs, path, files)));
    else if (files) found.push(path);
  }
  return found;
}

function entries(fs: Files, directory: string) {
  return fs.readdir(directory, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOTDIR' || error.code === 'ENOENT' || error.code === 'EACCES') return [];
    throw error;
  });
}

function child(directory: string, name: string): string {
  return directory === '/' ? `/${name}` : `${directory}/${name}`;
}

function exists(fs: Files, path: string): Promise<boolean> {
  return fs.lstat(path).then(
    () => true,
    () => false,
  );
}
