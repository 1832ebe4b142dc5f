/** One file of an archive. Directories above it need not be listed. */
export interface CpioEntry {
  /** Absolute path in the guest. */
  path: string;
  /** File type and permission bits, as st_mode has them. */
  mode: number;
  /** The content, or a symbolic link's target. */
  data?: Uint8Array;
}

const DIRECTORY = 0o040755;

/** Packs entries as the kernel's initramfs wants them: cpio, "newc" (Linux Documentation/driver-api/early-userspace/buffer-format.rst). */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Uint8Array[] = [];
  const known = new Set<string>(['/']);
  let inode = 0;
  const add = (path: string, mode: number, data: Uint8Array): void => {
    const name = Buffer.from(`${path.slice(1)}\0`);
    const fields = [++inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
    const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
    parts.push(header, name, padding(header.length + name.length), data, padding(data.length));
  };
  const above = (path: string): void => {
    const parent = path.slice(0, path.lastIndexOf('/')) || '/';
    if (known.has(parent)) return;
    above(parent);
    known.add(parent);
    add(parent, DIRECTORY, Buffer.alloc(0));
  };
  for (const { path, mode, data = Buffer.alloc(0) } of entries) {
    above(path);
    if (known.has(path)) continue;
    known.add(path);
    add(path, mode, data);
  }
  add('/TRAILER!!!', 0, Buffer.alloc(0));
  const archive = Buffer.concat(parts);
  // Archives are laid one behind the other; the kernel looks for the next at a multiple of 4, and 512 is what cpio(1) makes.
  return Buffer.concat([archive, Buffer.alloc((512 - (archive.length % 512)) % 512)]);
}

function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}
