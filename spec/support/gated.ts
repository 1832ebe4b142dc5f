import type { Attachment, Awaitable, Backend, BackendFile, BackendNode, Caller } from '../../lib/server/backend.js';

/** Called before each method of a node or file with its name: what it returns is waited for. */
export type Hold = (method: string, caller: Caller | undefined) => Promise<void> | undefined;

const sync = new Set(['retain', 'release', 'name']);

function isCaller(value: unknown): value is Caller {
  return typeof value === 'object' && value !== null && 'connection' in value && 'signal' in value;
}

/** A back-end that answers late where it is told to: for tests of what happens in the meantime. */
export class GatedBackend implements Backend {
  readonly #inner: Backend;
  readonly #hold: Hold;

  constructor(inner: Backend, hold: Hold) {
    this.#inner = inner;
    this.#hold = hold;
  }

  attach(attachment: Attachment): Awaitable<BackendNode> {
    const hold = this.#hold('attach', undefined);
    const attach = async () => this.#wrap(await this.#inner.attach(attachment));
    return hold === undefined ? attach() : hold.then(attach);
  }

  close(): Awaitable<void> {
    return this.#inner.close();
  }

  #wrap<T extends BackendNode | BackendFile>(target: T): T {
    return new Proxy(target, {
      get: (_, key) => {
        const value: unknown = Reflect.get(target, key, target);
        // Late answers must keep their data.
        if (key === 'immediate') return false;
        if (typeof value !== 'function' || typeof key !== 'string') return value;
        if (sync.has(key)) return value.bind(target);
        return (...args: unknown[]): unknown => {
          const hold = this.#hold(key, args.find(isCaller));
          const call = () => this.#wrapResult(value.apply(target, args));
          return hold === undefined ? call() : hold.then(call);
        };
      },
    });
  }

  #wrapResult(result: unknown): unknown {
    if (result instanceof Promise) return result.then((value) => this.#wrapResult(value));
    if (typeof result !== 'object' || result === null) return result;
    if ('node' in result && 'file' in result) {
      return { node: this.#wrap(result.node as BackendNode), file: this.#wrap(result.file as BackendFile) };
    }
    if ('walk' in result) return this.#wrap(result as unknown as BackendNode);
    if ('readdir' in result) return this.#wrap(result as unknown as BackendFile);
    return result;
  }
}

/** A door that is shut until it is opened. */
export class Door {
  readonly opened: Promise<void>;
  #open: () => void = () => {};

  constructor() {
    this.opened = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  open(): void {
    this.#open();
  }
}

/** Something to wait for until it is opened. */
export function door(): { promise: Promise<void>; open: () => void } {
  let open = (): void => {};
  const promise = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}
