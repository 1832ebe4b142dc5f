import { basename } from 'node:path';

/**
 * mount(8) runs `mount.fuse.ninep ADDRESS DIR -o OPTIONS` for a line of fstab, and mount.fuse3 runs `ninep ADDRESS DIR -o OPTIONS`
 * for the type `fuse.ninep`. Both become `ninep mount …`; anything else stays as it is.
 */
export function fromMountHelper(script: string, words: string[]): string[] {
  // QEMU's options of several letters have one dash.
  const argv = words.map((word) => (word === '-fsdev' ? '--fsdev' : word));
  if (argv[0] !== 'mount' && basename(script).startsWith('mount.')) return ['mount', ...withoutHelperFlags(argv)];
  const [address, directory] = argv;
  const isMount = address !== undefined && /^[a-z][a-z+]*:/.test(address) && directory?.startsWith('/') === true;
  return isMount ? ['mount', ...withoutHelperFlags(argv)] : argv;
}

/** Whether mount(8) was told -f: all is to be done but to mount. By itself `ninep` takes -f for --foreground. */
export function isFake(script: string, words: readonly string[]): boolean {
  return words[0] !== 'mount' && basename(script).startsWith('mount.') && words.some((word) => /^-[snv]*f[sfnv]*$/.test(word));
}

/** What mount(8) may pass to a helper beside -o and -f: -s (sloppy), -n (no mtab), -v. */
function withoutHelperFlags(argv: string[]): string[] {
  return argv.filter((argument) => !/^-[snv]+$/.test(argument));
}
