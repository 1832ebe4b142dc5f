import type { Backend } from './backend.js';

/** A back-end under a name that Tattach may ask for. */
export interface Export {
  readonly aname: string;
  readonly backend: Backend;
  /** Whether every change is refused with EROFS, whatever the back-end could do. */
  readonly readonly: boolean;
}

export interface ExportOptions {
  readonly?: boolean | undefined;
}

/** What a server serves, by aname. */
export class Exports {
  readonly #byName = new Map<string, Export>();

  /** A RangeError for a name that is taken. */
  add(aname: string, backend: Backend, options: ExportOptions = {}): void {
    if (this.#byName.has(aname)) throw new RangeError(`two exports named '${aname}'`);
    this.#byName.set(aname, { aname, backend, readonly: options.readonly ?? false });
  }

  /**
   * The export of that name, or of the name without a leading slash: `tcp://host/data` asks for "/data". QEMU serves one tree and ignores the name, so clients that were written for it give any or none: an empty
   * name, or "/", means the first export.
   */
  find(aname: string): Export | undefined {
    return (
      this.#byName.get(aname) ?? this.#byName.get(aname.replace(/^\//, '')) ?? (aname === '' || aname === '/' ? this.all()[0] : undefined)
    );
  }

  all(): Export[] {
    return [...this.#byName.values()];
  }

  /** Closes every back-end, even if some fail; then throws what failed first. */
  async close(): Promise<void> {
    const outcomes = await Promise.allSettled(this.all().map(async ({ backend }) => backend.close()));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }
}
