import { readdirSync, readlinkSync } from 'node:fs';

/** How many descriptors this process has that are called so in /proc. */
function descriptors(matches: (name: string) => boolean): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return matches(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // Closed meanwhile: the descriptor of the listing itself, for one.
      return false;
    }
  }).length;
}

/** How many descriptors this process has of what lies, or has lain, below a directory. */
export function openBelow(directory: string): number {
  return descriptors((name) => name.startsWith(`${directory}/`));
}

/** How many inotify(7) queues this process has. */
export function openQueues(): number {
  return descriptors((name) => name === 'anon_inode:inotify');
}
