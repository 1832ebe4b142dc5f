import { encodeText, textBytes } from '../../protocol/text.js';
import { write, writeInBackground } from '../../sys/io.js';
import { NOTIFY_DELETE, NOTIFY_INVAL_ENTRY, NOTIFY_INVAL_INODE, OUT_HEADER_SIZE } from './constants.js';

/** Names waiting to be told; one more is dropped, as the kernel's own time-outs do the same work later. */
const BOUND = 1024;

/** Notifications that leave one after another, not on this thread. */
class Queue {
  #tail: Promise<void> = Promise.resolve();
  waiting = 0;

  add(fd: number, message: Buffer): Promise<void> {
    this.waiting++;
    // The result is of no use: ENOENT says that the kernel had nothing cached, ENODEV that the mount is gone.
    this.#tail = this.#tail.then(async () => {
      await writeInBackground(fd, message);
      this.waiting--;
    });
    return this.#tail;
  }

  /** Resolves when the last one has been written. */
  get empty(): Promise<void> {
    return this.#tail;
  }
}

/**
 * Tells the kernel to forget what it has cached. The kernel takes locks for it that a process may hold while it waits for a reply of
 * ours, so these never run on the thread that replies, one at a time.
 *
 * For a name it takes the lock of the directory, which whoever unlinks there holds while he waits for the lock of a file that is being written: nobody
 * may wait for that inside a request, nor for anything behind it. For pages it takes theirs alone, which a read holds until the server has answered.
 */
export class Notifier {
  readonly #fd: number;
  readonly #names = new Queue();
  readonly #pages = new Queue();
  #closed = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Drops cached attributes of a node, and its pages from `offset` on for `length` bytes (0: all; a negative offset: none). None of these is dropped. */
  inode(nodeid: number, offset = 0, length = 0): Promise<void> {
    const message = begin(NOTIFY_INVAL_INODE, 24);
    put64(message, 16, nodeid);
    message.writeBigInt64LE(BigInt(offset), 24);
    message.writeBigInt64LE(BigInt(length), 32);
    return this.#closed ? Promise.resolve() : this.#pages.add(this.#fd, message);
  }

  /** Drops cached attributes only, and at once: that takes no lock that anybody holds while waiting for a reply. */
  attributes(nodeid: number): void {
    if (this.#closed) return;
    const message = begin(NOTIFY_INVAL_INODE, 24);
    put64(message, 16, nodeid);
    message.writeBigInt64LE(-1n, 24);
    write(this.#fd, message);
  }

  /** Drops what the kernel knows of a name in a directory, be it there or not. */
  entry(parent: number, name: string): Promise<void> {
    const size = textBytes(name);
    const message = begin(NOTIFY_INVAL_ENTRY, 16 + size + 1);
    put64(message, 16, parent);
    message.writeUInt32LE(size, 24);
    encodeText(name, message, 32);
    return this.#send(message);
  }

  /** A name is gone: as `entry`, and watchers of the directory are told. */
  deleted(parent: number, child: number, name: string): Promise<void> {
    const size = textBytes(name);
    const message = begin(NOTIFY_DELETE, 24 + size + 1);
    put64(message, 16, parent);
    put64(message, 24, child);
    message.writeUInt32LE(size, 32);
    encodeText(name, message, 40);
    return this.#send(message);
  }

  /** Resolves when the last one has been written; later ones are ignored. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([this.#names.empty, this.#pages.empty]);
  }

  #send(message: Buffer): Promise<void> {
    if (this.#closed || this.#names.waiting >= BOUND) return Promise.resolve();
    return this.#names.add(this.#fd, message);
  }
}

function begin(code: number, size: number): Buffer {
  const message = Buffer.alloc(OUT_HEADER_SIZE + size);
  message.writeUInt32LE(message.length, 0);
  message.writeInt32LE(code, 4);
  return message;
}

function put64(message: Buffer, at: number, value: number): void {
  message.writeBigUInt64LE(BigInt(value), at);
}
