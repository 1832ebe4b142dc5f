import { Codec } from '../../lib/protocol/codec.js';
import { VERSION_L } from '../../lib/protocol/constants.js';
import { encodeEntries } from '../../lib/protocol/directory.js';
import { Framer } from '../../lib/protocol/framer.js';
import type { Body, Reply, TName } from '../../lib/protocol/messages.js';
import type { Attributes, Qid } from '../../lib/protocol/types.js';
import type { Transport } from '../../lib/transport/transport.js';

/** A file that is made up: its name begins with what it is (`d`irectory, symbolic `l`ink, anything else a regular file). */
export interface MadeUp {
  /** The names that led to it. */
  readonly names: readonly string[];
  readonly qid: Qid;
}

export type Answers = {
  [N in TName]?: (body: Body<N>, file: MadeUp | undefined, tag: number) => Partial<Reply<N>> | Uint8Array | number | undefined;
};

const codec = new Codec(VERSION_L);
const zero = { sec: 0, nsec: 0 };

/**
 * A server that makes up whatever it likes. Without `answers` it has a directory of which every directory has what `list` says; an answer replaces some
 * fields of a reply, or is an error number, or bytes to be sent as they are; undefined says nothing.
 */
export class HostileServer {
  answers: Answers = {};
  /** Names in a directory, with a cookie if it is not to be their ordinal number. */
  list: (names: readonly string[]) => readonly (string | { name: string; offset: bigint })[] = () => [];
  requests = 0;

  serve(transport: Transport): void {
    const fids = new Map<number, MadeUp>();
    const framer = new Framer(
      {
        frame: (frame) => {
          const { tag, name, body } = codec.decode(frame);
          this.requests++;
          const answer = this.#answer(fids, name as TName, body, tag);
          if (answer !== undefined) transport.send([answer]);
        },
      },
      1 << 24,
    );
    const staging = new Uint8Array(65536);
    transport.start({
      target: () => staging,
      filled: (count) => framer.push(staging.subarray(0, count)),
      push: (bytes) => framer.push(bytes),
      drained: () => undefined,
      closed: () => undefined,
    });
  }

  #answer(fids: Map<number, MadeUp>, name: TName, body: object, tag: number): Uint8Array | undefined {
    const number = 'fid' in body ? Number(body.fid) : 'dfid' in body ? Number(body.dfid) : -1;
    const file = fids.get(number);
    const usual = this.#usual(fids, name, body, file);
    const own = this.answers[name] as ((body: object, file: MadeUp | undefined, tag: number) => object | number | undefined) | undefined;
    const answer = own === undefined ? {} : own(body, file, tag);
    if (answer === undefined || answer instanceof Uint8Array) return answer;
    if (typeof answer === 'number') return codec.encode('Rlerror', tag, { ecode: answer });
    if (usual === undefined && own === undefined) return codec.encode('Rlerror', tag, { ecode: 95 });
    return codec.encode(`R${name.slice(1)}` as 'Rclunk', tag, { ...usual, ...answer } as Record<string, never>);
  }

  #usual(fids: Map<number, MadeUp>, name: TName, body: object, file: MadeUp | undefined): object | undefined {
    switch (name) {
      case 'Tversion':
        return { msize: Math.min(65536, (body as Body<'Tversion'>).msize), version: VERSION_L };
      case 'Tattach':
        fids.set((body as Body<'Tattach'>).fid, { names: [], qid: qidOf([]) });
        return { qid: qidOf([]) };
      case 'Twalk': {
        const { newfid, wnames } = body as Body<'Twalk'>;
        const names = [...(file?.names ?? [])];
        const wqids = wnames.map((one) => {
          names.push(one);
          return qidOf(names);
        });
        fids.set(newfid, { names, qid: qidOf(names) });
        return { wqids };
      }
      case 'Tlopen':
        return { qid: file?.qid, iounit: 0 };
      case 'Tgetattr':
        return attributesOf(file?.names ?? []);
      case 'Treaddir': {
        const { offset, count } = body as Body<'Treaddir'>;
        const all = this.list(file?.names ?? []).map((one, index) =>
          typeof one === 'string' ? { name: one, offset: BigInt(index + 1) } : one,
        );
        const from = offset === 0n ? 0 : all.findIndex((one) => one.offset === offset) + 1;
        const entries = all.slice(from).map((one) => ({ ...one, qid: qidOf([...(file?.names ?? []), one.name]), type: 0 }));
        return { data: encodeEntries(entries, count) };
      }
      case 'Tread':
        return { data: new Uint8Array(0) };
      case 'Treadlink':
        return { target: '/etc/passwd' };
      case 'Tstatfs':
        return {
          type: 0x01021997,
          ...{ bsize: 4096, blocks: 0n, bfree: 0n, bavail: 0n, files: 0n, ffree: 0n, fsid: 0n, namelen: 255 },
        };
      case 'Tclunk':
      case 'Tflush':
      case 'Tsetattr':
      case 'Tunlinkat':
      case 'Tremove':
        return {};
      default:
        return undefined;
    }
  }
}

/** Its number depends on all the names, so that two files are never one. */
function qidOf(names: readonly string[]): Qid {
  let path = 1n;
  for (const char of names.join('/')) path = BigInt.asUintN(60, path * 31n + BigInt(char.codePointAt(0) ?? 0));
  const kind = names.at(-1)?.[0];
  return { type: names.length === 0 || kind === 'd' ? 0x80 : kind === 'l' ? 0x02 : 0, version: 0, path };
}

export function attributesOf(names: readonly string[]): Attributes {
  const qid = qidOf(names);
  return {
    valid: 0x7ffn,
    qid,
    mode: qid.type === 0x80 ? 0o040755 : qid.type === 0x02 ? 0o120777 : 0o100644,
    ...{ uid: 0, gid: 0, nlink: 1, rdev: 0n, size: 0, blksize: 4096, blocks: 0, gen: 0n, dataVersion: 0n },
    ...{ atime: zero, mtime: zero, ctime: zero, btime: zero },
  };
}
