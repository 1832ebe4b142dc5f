import { readFile } from 'node:fs/promises';

/** One line of /proc/self/mountinfo (proc(5)). */
export interface MountEntry {
  id: number;
  /** Device number of the file system as `major:minor`. */
  device: string;
  point: string;
  type: string;
  source: string;
}

/** What is mounted, in the order it was. Asks no file system. */
export async function mounts(): Promise<MountEntry[]> {
  const entries: MountEntry[] = [];
  for (const line of (await readFile('/proc/self/mountinfo', 'utf8')).split('\n')) {
    const fields = line.split(' ');
    const dash = fields.indexOf('-', 6);
    if (dash < 0) continue;
    entries.push({
      id: Number(fields[0]),
      device: fields[2] ?? '',
      point: plain(fields[4] ?? ''),
      type: fields[dash + 1] ?? '',
      source: plain(fields[dash + 2] ?? ''),
    });
  }
  return entries;
}

/** The topmost mount on a directory, given by its real path. */
export async function mountedAt(point: string): Promise<MountEntry | undefined> {
  return (await mounts()).findLast((entry) => entry.point === point);
}

/** Space, tab, newline and backslash are written in octal, byte by byte. */
function plain(text: string): string {
  if (!text.includes('\\')) return text;
  const bytes = Buffer.from(text);
  const out: number[] = [];
  for (let at = 0; at < bytes.length; at++) {
    const octal = bytes[at] === 0x5c ? /^[0-7]{3}/.exec(bytes.toString('latin1', at + 1, at + 4))?.[0] : undefined;
    out.push(octal === undefined ? (bytes[at] ?? 0) : Number.parseInt(octal, 8));
    if (octal !== undefined) at += 3;
  }
  return Buffer.from(out).toString();
}
