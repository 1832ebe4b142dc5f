import type { Fid } from '../client/index.js';
import { GETATTR_BASIC, L_O_ACCMODE, L_O_APPEND, L_O_TRUNC, L_O_WRONLY } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import { Behind } from './behind.js';
import type { Bridge } from './bridge.js';
import type { FileHandle } from './handles.js';
import { FSYNC_FDATASYNC, RELEASE_FLOCK_UNLOCK, WRITE_CACHE, WRITE_KILL_SUIDGID } from './kernel/constants.js';
import type { Operations, Request } from './kernel/request.js';
import { Lent } from './kernel/structs.js';
import { assureItself } from './nameless.js';
import { dropPrivilegeBits } from './node-operations.js';
import type { Node } from './nodes.js';
import type { Pin } from './pins.js';

const EIO = -5;
const EFBIG = -27;
const ENOTTY = -25;
const EOPNOTSUPP = -95;

/** All that is done with an open file. */
export function fileOperations(bridge: Bridge): Partial<Operations> {
  const { files, buffers, locks } = bridge;

  /** Waits until what was written is on the server; an error is told once, to the handle that wrote. */
  async function settled(handle: FileHandle, { signal }: Request): Promise<void> {
    const { behind } = handle.node;
    if (behind?.busy) await behind.idle(signal);
    const { error } = handle;
    handle.error = undefined;
    if (error !== undefined) throw error;
  }

  /** An error is told at the next call. */
  async function send(handle: FileHandle, data: Uint8Array, offset: number): Promise<boolean> {
    const { node, pin } = handle;
    let free = true;
    pin.hold();
    try {
      const count = await pin.fid.write(data, offset);
      if (count < data.length) handle.error ??= Object.assign(new Error('short write'), { code: 'EIO' });
    } catch (error) {
      handle.error ??= error;
      free = false;
    }
    bridge.touched(node);
    pin.drop();
    return free;
  }

  /**
   * A fid for the dirty pages of a mapping made through a handle that appends: they lie where they lie, and a server puts at the end whatever comes by
   * a fid that was opened to append.
   */
  function pagesOf(handle: FileHandle): Promise<Pin> {
    const open = async (): Promise<Pin> => {
      const { node, user, flags } = handle;
      const { pin } = await bridge.clone(node, user, {});
      try {
        await pin.fid.open((flags & ~(L_O_APPEND | L_O_TRUNC | L_O_ACCMODE)) | L_O_WRONLY);
        if (!node.is(pin.fid.qid)) throw new ErrnoError('ESTALE', { syscall: 'Tlopen' });
        return pin;
      } catch (error) {
        pin.end();
        handle.pages = undefined;
        throw error;
      }
    };
    handle.pages ??= open();
    return handle.pages;
  }

  async function written(node: Node, count: Promise<number>): Promise<number> {
    try {
      return await count;
    } finally {
      bridge.touched(node);
    }
  }

  /**
   * A write that went past the kernel's cache, while somebody else has the file open through it. The kernel dropped its pages of that range before it asked;
   * one that was read at the same moment may have come back since then. So they are dropped once more, before the writer is told that it is done: a
   * read that comes after waits for what is on its way. A page that is being read holds that up, which the server ends by itself.
   */
  function inStep<T>(handle: FileHandle, offset: number, length: number, reply: T): T | Promise<T> {
    if (handle.cached) return reply;
    for (const other of handle.node.handles ?? []) if (other.cached) return bridge.dropPages(handle.node, offset, length).then(() => reply);
    return reply;
  }

  return {
    async read({ fh, offset, size }, request) {
      const handle = files.get(fh);
      if (!Number.isSafeInteger(offset + size)) return new Uint8Array(0);
      const { behind } = handle.node;
      if (behind?.busy) await behind.idle(request.signal);
      // It has been read now, which its times say.
      handle.node.told = undefined;
      const { prefetch } = handle;
      if (prefetch !== undefined) {
        handle.prefetch = undefined;
        const there = offset === 0 ? await prefetch.take(size) : undefined;
        if (there !== undefined) return there;
      }
      const buffer = buffers.take(size);
      const into = buffer.length === size ? buffer : buffer.subarray(0, size);
      // After an error it is not given back: a late reply might still be on its way into it.
      const count = await handle.pin.fid.read(into, offset, request.options);
      return new Lent(into.subarray(0, count), () => buffers.give(buffer));
    },

    write({ fh, offset, data, writeFlags }, request) {
      const handle = files.get(fh);
      const { node, pin } = handle;
      const end = offset + data.bytes.length;
      if (!Number.isSafeInteger(end)) return EFBIG;
      bridge.changed(node);
      if (end > node.written) node.written = end;
      // What the kernel writes of its pages it would take as its own error, and it keeps those for everybody who has the file mapped.
      const page = (writeFlags & WRITE_CACHE) !== 0;
      const { error } = handle;
      if (error !== undefined && !page) {
        handle.error = undefined;
        throw error;
      }
      const drop = (writeFlags & WRITE_KILL_SUIDGID) !== 0 ? dropPrivilegeBits(node, pin.fid, request.options) : undefined;
      if (!handle.behind || page) {
        const bytes = data.keep();
        return (async () => {
          if (drop !== undefined) await drop;
          if (node.behind?.busy) await node.behind.idle(request.signal);
          const { fid } = page && (handle.flags & L_O_APPEND) !== 0 ? await pagesOf(handle) : pin;
          const count = await written(node, fid.write(bytes, offset, request.options));
          // The kernel does not look how much of a page was taken.
          if (page && count < bytes.length) return EIO;
          return inStep(handle, offset, count, count);
        })();
      }
      node.behind ??= new Behind(send, buffers);
      const { behind } = node;
      if (drop === undefined && behind.admits(offset, end)) return inStep(handle, offset, end - offset, behind.write(handle, offset, data));
      data.keep();
      return (async () => {
        await drop;
        return inStep(handle, offset, end - offset, await behind.writeInTurn(handle, offset, data, request.signal));
      })();
    },

    flush({ fh, lockOwner }, request) {
      const handle = files.find(fh);
      if (handle === undefined) return 0;
      const { node } = handle;
      if (!node.behind?.busy && handle.error === undefined && !locks.any(node, lockOwner)) return 0;
      return (async () => {
        try {
          await settled(handle, request);
        } finally {
          await locks.release(node, lockOwner);
        }
        return 0;
      })();
    },

    release({ fh, releaseFlags, lockOwner }) {
      const handle = files.remove(fh);
      if (handle === undefined) return 0;
      const { node } = handle;
      node.handles?.delete(handle);
      if (node.handles?.size === 0) node.handles = undefined;
      if (bridge.backings.release(handle)) bridge.changed(node);
      const end = (): number => {
        locks.closing(handle);
        handle.end();
        return 0;
      };
      const flocked = (releaseFlags & RELEASE_FLOCK_UNLOCK) !== 0 && locks.any(node, lockOwner);
      return flocked ? locks.release(node, lockOwner).then(end) : end();
    },

    async fsync({ fh, fsyncFlags }, request) {
      const handle = files.get(fh);
      await settled(handle, request);
      await handle.pin.fid.fsync((fsyncFlags & FSYNC_FDATASYNC) !== 0, request.options);
      return 0;
    },

    /** 9P can make a file longer, which is what mode 0 shows of itself; nothing can be reserved or punched. */
    async fallocate({ fh, offset, length, mode }, request) {
      if (mode !== 0) return EOPNOTSUPP;
      const handle = files.get(fh);
      const { fid } = handle.pin;
      const end = offset + length;
      if (!Number.isSafeInteger(end)) return EFBIG;
      bridge.changed(handle.node);
      await settled(handle, request);
      const { node } = handle;
      const extend = async (at: Fid): Promise<void> => {
        const { size } = await at.getattr(GETATTR_BASIC, request.options);
        if (end > size) await at.setattr({ size: end }, request.options);
      };
      if (node.mustBeWalkedTo) await bridge.with(node, request, extend, true);
      else {
        if (node.links.length === 0) await assureItself(bridge, node, fid, request.options);
        await extend(fid);
      }
      bridge.touched(node);
      // The kernel says nothing of privileges here; a write by an ordinary user takes them.
      if (request.uid !== 0) await dropPrivilegeBits(node, fid, request.options);
      return 0;
    },

    ioctl: () => ENOTTY,
  };
}
