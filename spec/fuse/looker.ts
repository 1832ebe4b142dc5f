import { expect } from 'vitest';
import type { Mount } from '../../lib/fuse/index.js';
import { talker } from './talker.js';

/** Tells for the path of each line whether it leads anywhere; or makes or removes it, where the line begins so. */
const LOOKER = `
  import fs from 'node:fs';
  import readline from 'node:readline';
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [what, path] = line.split(' ');
    let said = 'done';
    try {
      if (what === 'make') fs.writeFileSync(path, '');
      else if (what === 'remove') fs.rmSync(path);
      else said = fs.lstatSync(path).isDirectory() ? 'directory' : 'file';
    } catch (error) {
      said = error.code;
    }
    process.stdout.write(said + '\\n');
  }`;

/** Whoever looks names up below a directory, in a process of its own. */
export const looker = (at: string, user?: number) => {
  const { tell, ...rest } = talker(LOOKER, user);
  const of = (what: string) => (name: string) => tell(`${what} ${at}/${name}`);
  return { look: of('look'), make: of('make'), remove: of('remove'), ...rest };
};

/** Looks names up in vain until it is known of the directory that they are not there; gives how many look-ups have been answered so. */
export async function known(at: { mount: Mount }, look: (name: string) => Promise<string>, prefix = 'none'): Promise<number> {
  let n = 0;
  const vainly = async (): Promise<number> => {
    const before = at.mount.counters().absent;
    for (let many = 0; many < 10; many++) expect(await look(`${prefix}${n++}`)).toBe('ENOENT');
    return at.mount.counters().absent - before;
  };
  await expect.poll(vainly, { timeout: 30_000 }).toBe(10);
  return at.mount.counters().absent;
}
