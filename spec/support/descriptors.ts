import { readdirSync, readlinkSync } from 'node:fs';

/** How many descriptors this process has of what lies, or has lain, below a directory. */
export function openBelow(directory: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${directory}/`);
    } catch {
      // Closed meanwhile: the descriptor of the listing itself, for one.
      return false;
    }
  }).length;
}
