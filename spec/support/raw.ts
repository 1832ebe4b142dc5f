import { Codec, type Message } from '../../lib/protocol/codec.js';
import { AT_REMOVEDIR, L_O_RDONLY, L_O_RDWR, NOFID, NOTAG, VERSION_L } from '../../lib/protocol/constants.js';
import { decodeEntries } from '../../lib/protocol/directory.js';
import { ErrnoError } from '../../lib/protocol/error.js';
import { Framer } from '../../lib/protocol/framer.js';
import type { Body, Reply, TName } from '../../lib/protocol/messages.js';
import type { DirectoryEntry } from '../../lib/protocol/types.js';
import type { Server } from '../../lib/server/server.js';
import { memoryPair } from '../../lib/transport/memory.js';
import type { Receiver, Transport } from '../../lib/transport/transport.js';

/** A plain oracle of a reader: every frame is copied, decoded and kept. */
class Inbox implements Receiver {
  readonly framer: Framer;
  readonly onMessage: (message: Message) => void;
  readonly onClosed: (error?: Error) => void;

  constructor(onMessage: (message: Message) => void, onClosed: (error?: Error) => void) {
    const codec = new Codec();
    this.onMessage = onMessage;
    this.onClosed = onClosed;
    this.framer = new Framer({ frame: (frame) => this.onMessage(codec.decode(frame.slice())) }, 2 ** 26);
  }

  target(): Uint8Array {
    return this.framer.target();
  }

  filled(count: number): void {
    this.framer.filled(count);
  }

  push(chunk: Uint8Array): void {
    this.framer.push(chunk);
  }

  drained(): void {}

  closed(error?: Error): void {
    this.onClosed(error);
  }
}

/**
 * A client that thinks nothing of itself: it sends what it is told, right or wrong, and keeps every answer in the order of arrival.
 * For tests of servers; programs want `lib/client`.
 */
export class RawClient {
  readonly transport: Transport;
  /** Every message that came, in order. */
  readonly received: Message[] = [];
  /** Resolves when the stream has ended. */
  readonly closed: Promise<Error | undefined>;
  isClosed = false;
  readonly #codec = new Codec();
  readonly #expected = new Map<number, { resolve: (message: Message) => void; reject: (error: Error) => void }>();
  #tag = 0;
  #fid = 100;

  constructor(transport: Transport) {
    this.transport = transport;
    this.closed = new Promise((resolve) => {
      const onClosed = (error?: Error) => {
        this.isClosed = true;
        for (const { reject } of this.#expected.values()) reject(new Error('the connection ended', { cause: error }));
        this.#expected.clear();
        resolve(error);
      };
      transport.start(new Inbox((message) => this.#arrived(message), onClosed));
    });
  }

  /** One that has agreed on a version and attached fid 0. */
  static async attached(server: Server, { aname = '', msize = 65536, uid = 0 } = {}): Promise<RawClient> {
    const client = RawClient.connect(server);
    await client.version(msize);
    await client.attach(0, aname, uid);
    return client;
  }

  /** One that has said nothing yet. */
  static connect(server: Server, options: Parameters<typeof memoryPair>[0] = {}): RawClient {
    const [ours, theirs] = memoryPair(options);
    server.serve(theirs);
    return new RawClient(ours);
  }

  #arrived(message: Message): void {
    this.received.push(message);
    const expected = this.#expected.get(message.tag);
    this.#expected.delete(message.tag);
    expected?.resolve(message);
  }

  /** A tag that no request waits on. */
  nextTag(): number {
    do this.#tag = (this.#tag + 1) % NOTAG;
    while (this.#expected.has(this.#tag));
    return this.#tag;
  }

  /** A fid number that was not given before. */
  nextFid(): number {
    return this.#fid++;
  }

  /** Sends bytes as they are. */
  bytes(...parts: Uint8Array[]): void {
    this.transport.send(parts);
  }

  frame<N extends TName>(name: N, body: Body<N>, tag = this.nextTag()): Uint8Array {
    return this.#codec.encode(name, tag, body);
  }

  /** Sends a request and gives whatever answers its tag. */
  send<N extends TName>(name: N, body: Body<N>, tag = this.nextTag()): Promise<Message> & { tag: number } {
    const answer = this.expect(tag);
    this.bytes(this.frame(name, body, tag));
    return Object.assign(answer, { tag });
  }

  /** The next message with that tag. */
  expect(tag: number): Promise<Message> {
    if (this.isClosed) return Promise.reject(new Error('the connection has ended'));
    const answer = new Promise<Message>((resolve, reject) => {
      this.#expected.set(tag, { resolve, reject });
    });
    // A test that ends before its answer came is no failure.
    answer.catch(() => {});
    return answer;
  }

  /** Sends a request; gives its reply or throws its errno. */
  async call<N extends TName>(name: N, body: Body<N>, tag?: number): Promise<Reply<N>> {
    const message = await this.send(name, body, tag);
    if (message.name === 'Rlerror') throw new ErrnoError(message.body.ecode, { syscall: name });
    if (message.name !== `R${name.slice(1)}`) throw new Error(`${message.name} in answer to ${name}`);
    return message.body as Reply<N>;
  }

  /** The name of the errno that answers a request, or "ok". */
  async outcome<N extends TName>(name: N, body: Body<N>): Promise<string> {
    try {
      await this.call(name, body);
      return 'ok';
    } catch (error) {
      if (error instanceof ErrnoError) return error.code;
      throw error;
    }
  }

  version(msize = 65536, version: string = VERSION_L): Promise<Reply<'Tversion'>> {
    return this.call('Tversion', { msize, version }, NOTAG);
  }

  attach(fid = 0, aname = '', uid = 0): Promise<Reply<'Tattach'>> {
    return this.call('Tattach', { fid, afid: NOFID, uname: 'user', aname, nUname: uid });
  }

  /** A new fid for a path below another. */
  async walk(path: string, from = 0): Promise<number> {
    const newfid = this.nextFid();
    const wnames = path.split('/').filter((name) => name !== '');
    const { wqids } = await this.call('Twalk', { fid: from, newfid, wnames });
    if (wqids.length < wnames.length) throw new ErrnoError('ENOENT', { syscall: 'Twalk', path });
    return newfid;
  }

  async open(path: string, flags = L_O_RDONLY, from = 0): Promise<number> {
    const fid = await this.walk(path, from);
    await this.call('Tlopen', { fid, flags });
    return fid;
  }

  /** A new file, open for reading and writing. */
  async create(name: string, { mode = 0o644, flags = L_O_RDWR, gid = 0, from = 0 } = {}): Promise<number> {
    const fid = await this.walk('', from);
    await this.call('Tlcreate', { fid, name, flags, mode, gid });
    return fid;
  }

  /** Makes a file with some content; no fid is left. */
  async write(name: string, content: string | Uint8Array, from = 0): Promise<void> {
    const fid = await this.create(name, { from });
    const data = Buffer.from(content);
    for (let at = 0; at < data.length; at += 32768) {
      await this.call('Twrite', { fid, offset: at, data: data.subarray(at, at + 32768) });
    }
    await this.clunk(fid);
  }

  async read(path: string, from = 0): Promise<Buffer> {
    const fid = await this.open(path, L_O_RDONLY, from);
    const parts: Uint8Array[] = [];
    for (let offset = 0; ; ) {
      const { data } = await this.call('Tread', { fid, offset, count: 32768 });
      if (data.length === 0) break;
      parts.push(data);
      offset += data.length;
    }
    await this.clunk(fid);
    return Buffer.concat(parts);
  }

  /** Every entry of an open directory, "." and ".." included. */
  async entries(fid: number, count = 8192): Promise<DirectoryEntry[]> {
    const all: DirectoryEntry[] = [];
    for (let offset = 0n; ; ) {
      const { data } = await this.call('Treaddir', { fid, offset, count });
      const some = decodeEntries(data);
      if (some.length === 0) return all;
      all.push(...some);
      offset = some.at(-1)?.offset ?? offset;
    }
  }

  /** The sorted names in a directory, without "." and "..". */
  async list(path: string, from = 0): Promise<string[]> {
    const fid = await this.open(path, L_O_RDONLY, from);
    const names = (await this.entries(fid)).map(({ name }) => name).filter((name) => name !== '.' && name !== '..');
    await this.clunk(fid);
    return names.sort();
  }

  async clunk(fid: number): Promise<void> {
    await this.call('Tclunk', { fid });
  }

  /** Removes everything below a directory. */
  async empty(path = '', from = 0): Promise<void> {
    const fid = await this.open(path, L_O_RDONLY, from);
    for (const { name, qid } of await this.entries(fid)) {
      if (name === '.' || name === '..') continue;
      const directory = (qid.type & 0x80) !== 0;
      if (directory) await this.empty(name, fid);
      await this.call('Tunlinkat', { dirfd: fid, name, flags: directory ? AT_REMOVEDIR : 0 });
    }
    await this.clunk(fid);
  }

  /** Ends the stream; resolves when it has. */
  async end(): Promise<void> {
    await this.transport.close();
  }
}
