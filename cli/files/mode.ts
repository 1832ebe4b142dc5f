import { UsageError } from '../failure.js';

const WHO: Readonly<Record<string, number>> = { u: 0o4700, g: 0o2070, o: 0o1007, a: 0o7777 };

/**
 * A change of permissions as chmod(1) has it: octal digits, or clauses such as `u+x,go-w` and `a=rX`. Gives the new bits for the old ones.
 */
export function modeChange(text: string): (old: number, directory: boolean) => number {
  if (/^[0-7]{1,5}$/.test(text)) {
    const mode = Number.parseInt(text, 8);
    if (mode > 0o7777) throw new UsageError(`mode ${text} is more than 7777`);
    return () => mode;
  }
  const clauses = text.split(',').map((clause) => {
    const match = /^([ugoa]*)([-+=])([rwxXst]*)$/.exec(clause);
    if (match === null) throw new UsageError(`${JSON.stringify(clause)} is no mode: 644, u+x, go-w, a=rX`);
    const [, who = '', operator = '', what = ''] = match;
    // chmod(1) takes the umask off where nobody is named.
    const mask = who === '' ? 0o7777 & ~process.umask() : [...who].reduce((sum, one) => sum | (WHO[one] ?? 0), 0);
    return { mask, all: who === '' ? 0o7777 : mask, operator, what };
  });
  return (old, directory) => {
    let mode = old & 0o7777;
    for (const { mask, all, operator, what } of clauses) {
      let bits = 0;
      if (what.includes('r')) bits |= 0o444;
      if (what.includes('w')) bits |= 0o222;
      if (what.includes('x') || (what.includes('X') && (directory || (mode & 0o111) !== 0))) bits |= 0o111;
      if (what.includes('s')) bits |= 0o6000;
      if (what.includes('t')) bits |= 0o1000;
      bits &= mask;
      if (operator === '+') mode |= bits;
      else if (operator === '-') mode &= ~bits;
      else mode = (mode & ~(all & 0o777) & ~(directory ? 0 : all & 0o7000)) | bits;
    }
    return mode;
  };
}

/** `OWNER`, `OWNER:GROUP` or `:GROUP`, in numbers: what a name means is known to the server's host alone. -1 leaves it. */
export function ownerOf(text: string): { uid: number; gid: number } {
  const match = /^(\d*)(?::(\d*))?$/.exec(text);
  if (match === null || text === '' || text === ':') {
    throw new UsageError(`${JSON.stringify(text)} is no owner: UID, UID:GID or :GID, in numbers, for 9P knows no names`);
  }
  const [, uid = '', gid = ''] = match;
  return { uid: uid === '' ? -1 : Number(uid), gid: gid === '' ? -1 : Number(gid) };
}
