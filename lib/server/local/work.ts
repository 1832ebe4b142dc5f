import { encodeText, textBytes } from '../../protocol/text.js';
import { Files } from '../../sys/files.js';
import type { LocalNode } from './node.js';

/** The system calls of one operation, and the nodes whose descriptors it uses. */
export class Work extends Files {
  readonly pinned: LocalNode[] = [];

  /** Names are whatever bytes they were on the wire. */
  protected override encode(text: string, into: Buffer, at: number): number {
    return encodeText(text, into, at);
  }

  protected override sizeOf(text: string): number {
    return textBytes(text);
  }

  /** Keeps a node's descriptor open until the operation has ended: whatever it opens after that may take descriptors back from others. */
  pin(node: LocalNode): void {
    node.pins++;
    this.pinned.push(node);
  }
}

/** Thrown by an operation that finds it would block: it is begun again on other threads. It must have changed nothing yet. */
export const ELSEWHERE = Symbol('elsewhere');

/** Thrown by a look at a name that changes of its directory have overtaken again and again: it is to wait for its turn among them. */
export const OVERTAKEN = Symbol('overtaken');

/** Thrown by a change whose node has gone to another directory while it waited for its turn: it is to wait in the row of that one. */
export const MOVED = Symbol('moved');
