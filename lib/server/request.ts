import { NONUNAME } from '../protocol/constants.js';
import type { TName } from '../protocol/messages.js';
import type { Caller } from './backend.js';
import { failure } from './errors.js';
import type { Fid, FidTable } from './fids.js';

/** One request from its arrival to its answer. It is also what a back-end sees of its caller. */
export class Request implements Caller {
  readonly tag: number;
  /** The type byte of its message, and the name of that. */
  readonly type: number;
  readonly name: TName;
  readonly body: unknown;
  readonly connection: string;
  uid = NONUNAME;
  /** Payload bytes it occupies while it is under way. */
  cost = 0;
  /** Bytes of its message, about, which are remembered for as long as it waits. */
  bytes = 0;
  /** From the pool: what is being written, or what is read and will be sent. */
  buffer: Uint8Array | undefined;
  /** A descriptor that leaves with the answer (`lending`); its own until then. */
  descriptor: number | undefined;
  /** Waits for something that only another request or a Tflush can bring. */
  waits = false;
  /** Its turn has come. */
  begun = false;
  /** Tflush has asked for its end. */
  flushed = false;
  /** Its session is over: nothing is sent any more. */
  dropped = false;
  /** The Tflush that wait for it. */
  flushes: Request[] | undefined;
  #controller: AbortController | undefined;
  #aborted = false;
  #fid: Fid | undefined;
  #second: Fid | undefined;

  constructor(tag: number, type: number, name: TName, body: unknown, connection: string) {
    this.tag = tag;
    this.type = type;
    this.name = name;
    this.body = body;
    this.connection = connection;
  }

  /** Made when somebody looks: most requests are answered before anybody could. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  abort(): void {
    this.#aborted = true;
    this.#controller?.abort();
  }

  /** The fid of that number, which this request uses until it is answered. EBADF. */
  use(fids: FidTable, number: number): Fid {
    const fid = this.find(fids, number);
    if (fid === undefined) throw failure('EBADF');
    return fid;
  }

  /** As `use`, for where having no such fid is nothing out of the ordinary. */
  find(fids: FidTable, number: number): Fid | undefined {
    const fid = fids.find(number);
    if (fid === undefined) return undefined;
    if (this.#fid === undefined) {
      this.#fid = fid;
      this.uid = fid.attached.uid;
    } else {
      this.#second = fid;
    }
    return fid;
  }

  uses(fid: Fid): boolean {
    return this.#fid === fid || this.#second === fid;
  }

  /** It will be answered later: nothing it uses may go away. */
  hold(): void {
    this.#fid?.hold();
    this.#second?.hold();
  }

  letGo(): void {
    this.#fid?.letGo();
    this.#second?.letGo();
  }
}
