import { closeSync, ftruncateSync, writeSync } from 'node:fs';
import { check, declare, errno, lazy, native, SystemError } from './libc.js';

/** Memory that is shared with another process: a file without a name, and its pages in this process. */
const calls = lazy(() => ({
  memfdCreate: declare<(name: string, flags: number) => number>('int memfd_create(const char *, unsigned int)'),
  mmap: declare<(at: number, size: number, protection: number, flags: number, fd: number, offset: number) => number>(
    'intptr_t mmap(uintptr_t, size_t, int, int, int, int64_t)',
  ),
  munmap: declare<(at: number, size: number) => number>('int munmap(uintptr_t, size_t)'),
}));

const MFD_CLOEXEC = 1;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 0x1;
const MAP_PRIVATE = 0x2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;

/** A file that lives in memory only, of `size` zeros, or with the given content. The descriptor is the caller's. Throws a SystemError. */
export function memoryFile(name: string, content: number | Uint8Array): number {
  const fd = check(calls().memfdCreate(name, MFD_CLOEXEC), 'memfd_create');
  try {
    if (typeof content === 'number') ftruncateSync(fd, content);
    else writeSync(fd, content);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}

/** A file's pages as bytes that other processes see change, and change. */
export interface Mapping {
  readonly bytes: Uint8Array;
  /** Idempotent. `bytes` and its views read as zeros from then on, and what is written to them goes nowhere. */
  unmap(): void;
}

/** Gives the addresses back once no view can reach them any more. */
const addresses = lazy(() => new FinalizationRegistry<{ at: number; size: number }>(({ at, size }) => calls().munmap(at, size)));

/** Maps the first `size` bytes of a file for reading and writing. Throws a SystemError. */
export function mapShared(fd: number, size: number): Mapping {
  const at = calls().mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at === -1) throw new SystemError(errno(), 'mmap');
  const buffer = native().view(at, size);
  addresses().register(buffer, { at, size });
  let mapped = true;
  return {
    bytes: new Uint8Array(buffer),
    unmap() {
      if (!mapped) return;
      mapped = false;
      // Not munmap(2): a late look at a view would end the process, and other memory might come to lie there.
      const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
      if (calls().mmap(at, size, PROT_READ | PROT_WRITE, flags, -1, 0) === -1) throw new SystemError(errno(), 'mmap');
    },
  };
}
