import type { RequestOptions } from '../client/verbs.js';
import { joinSignals } from './arguments.js';
import type { OpenFile } from './open-file.js';

/** Where a stream gets its file from, and whether it ends it. */
export interface Source {
  /** The path as it was given, for `stream.path`. */
  readonly path: string | Buffer;
  readonly autoClose: boolean;
  readonly flags: string | number;
  /** Opens the file, or gives the open one. */
  open(request: RequestOptions): Promise<OpenFile>;
}

type Callback = (error?: Error | null) => void;

/** The file of a stream, from its `_construct` to its `_destroy`. */
export class StreamFile {
  readonly #source: Source;
  readonly #aborter = new AbortController();
  readonly #onClosing: () => void;
  /** What its requests are made with: `abandon` ends them. */
  readonly request: RequestOptions;
  file: OpenFile | undefined;

  /** `onClosing` is called when somebody else closes the file. */
  constructor(source: Source, request: RequestOptions | undefined, onClosing: () => void) {
    this.#source = source;
    this.#onClosing = onClosing;
    this.request = { signal: joinSignals(this.#aborter.signal, request?.signal), timeout: request?.timeout };
  }

  /** The number of the open file; null before it is open and after it is closed. */
  get fd(): number | null {
    return this.file === undefined || this.file.fd < 0 ? null : this.file.fd;
  }

  /** Whether its end is the stream's. */
  get autoClose(): boolean {
    return this.#source.autoClose;
  }

  /** Opens it: `begin` sees it first, then `callback`, then who listens. A stream that was destroyed meanwhile goes straight on to _destroy. */
  open(stream: NodeJS.EventEmitter, begin: (file: OpenFile) => void, callback: Callback): void {
    this.#open().then(
      (file) => {
        begin(file);
        callback();
        stream.emit('open', file.fd);
        stream.emit('ready');
      },
      // Given up by whoever destroyed the stream, who has said why.
      (error: Error) => callback(this.#aborter.signal.aborted ? null : error),
    );
  }

  async #open(): Promise<OpenFile> {
    const file = await this.#source.open(this.request);
    file.hold(this, this.#onClosing);
    this.file = file;
    return file;
  }

  /** Gives up the requests that are on their way. */
  abandon(): void {
    this.#aborter.abort();
  }

  /** Lets go of the file, and closes it if that is the stream's to do. */
  end(error: Error | null, callback: Callback): void {
    this.file?.drop(this);
    if (this.file === undefined || !this.autoClose) {
      callback(error);
      return;
    }
    this.file.close().then(
      () => callback(error),
      (problem: Error) => callback(error ?? problem),
    );
  }
}
