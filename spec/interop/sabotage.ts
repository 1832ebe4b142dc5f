import {
  type Body,
  type DirectoryEntry,
  decodeEntries,
  encodeEntries,
  errnoNumber,
  type Message,
  type MessageName,
  type Reply,
  type TName,
} from '../../lib/protocol/index.js';
import type { Deed, Raw, Saboteur } from './middle.js';

export type When<N extends TName> = (body: Body<N>) => boolean;

const always = (): boolean => true;

function is<N extends TName>(message: Message | Raw, name: N, when: When<N>): message is Message {
  return message.name === name && when((message as Message).body as unknown as Body<N>);
}

function isError(message: Message): boolean {
  return message.name === 'Rlerror' || message.name === 'Rerror';
}

function reply(name: TName, tag: number, body: unknown): Message {
  return { name: `R${name.slice(1)}` as MessageName, tag, body } as Message;
}

const qid = { type: 0, version: 1, path: 0xfeedn };
const time = { sec: 0, nsec: 0 };
const attributes = {
  qid,
  mode: 0,
  uid: 0,
  gid: 0,
  nlink: 1,
  rdev: 0n,
  size: 0,
  blksize: 0,
  blocks: 0,
  atime: time,
  mtime: time,
  ctime: time,
  btime: time,
};

/** A reply of success for a request that was not done. */
function success(request: Message): unknown {
  const { body } = request;
  switch (request.name) {
    case 'Tversion':
      return body;
    case 'Tauth':
      return { aqid: qid };
    case 'Tattach':
      return { qid: { ...qid, type: 0x80 } };
    case 'Twalk':
      return { wqids: request.body.wnames.map(() => qid) };
    case 'Tlopen':
    case 'Tlcreate':
    case 'Topen':
    case 'Tcreate':
      return { qid, iounit: 0 };
    case 'Tread':
    case 'Treaddir':
      return { data: Buffer.alloc(0) };
    case 'Twrite':
      return { count: request.body.data.length };
    case 'Tgetattr':
      return { valid: 0n, ...attributes, gen: 0n, dataVersion: 0n };
    case 'Tstatfs':
      return { type: 0, bsize: 1, blocks: 0n, bfree: 0n, bavail: 0n, files: 0n, ffree: 0n, fsid: 0n, namelen: 255 };
    case 'Treadlink':
      return { target: 'x' };
    case 'Tlock':
      return { status: 0 };
    case 'Tgetlock':
      return { type: 2, start: 0, length: 0, procId: 0, clientId: '' };
    case 'Txattrwalk':
      return { size: 0 };
    case 'Tstat':
      return {
        stat: {
          type: 0,
          dev: 0,
          qid,
          mode: 0,
          atime: 0,
          mtime: 0,
          length: 0,
          name: '',
          uid: '',
          gid: '',
          muid: '',
          extension: '',
          nUid: 0,
          nGid: 0,
          nMuid: 0,
        },
      };
    default:
      return { qid };
  }
}

/** What the server refuses is said to be done. */
export function permit<N extends TName>(name: N, when: When<N> = always): Saboteur {
  return {
    reply: (answer, request) =>
      isError(answer) && is(request, name, when) ? { pass: reply(name, answer.tag, success(request)) } : undefined,
  };
}

/** Nothing is done, and said to be. */
export function pretend<N extends TName>(name: N, when: When<N> = always): Saboteur {
  return { request: (request) => (is(request, name, when) ? { answer: reply(name, request.tag, success(request)) } : undefined) };
}

/** What is done is said to have failed. */
export function fail<N extends TName>(name: N, code = 'EIO', when: When<N> = always): Saboteur {
  return { reply: (answer, request) => (!isError(answer) && is(request, name, when) ? { pass: failure(answer.tag, code) } : undefined) };
}

/** What fails has another errno. */
export function code<N extends TName>(name: N, errno: string, when: When<N> = always): Saboteur {
  return {
    reply(answer, request) {
      if (!isError(answer) || !is(request, name, when)) return undefined;
      if (answer.name === 'Rerror') return { pass: { ...answer, body: { ...answer.body, errno: errnoNumber(errno) ?? 5 } } };
      return { pass: failure(answer.tag, errno) };
    },
  };
}

function failure(tag: number, errno: string): Message {
  return { name: 'Rlerror', tag, body: { ecode: errnoNumber(errno) ?? 5 } };
}

/** The server is asked for something else. */
export function alter<N extends TName>(name: N, change: (body: Body<N>) => Partial<Body<N>>, when: When<N> = always): Saboteur {
  return {
    request: (request) =>
      is(request, name, when)
        ? { pass: { ...request, body: { ...request.body, ...change(request.body as unknown as Body<N>) } } as unknown as Message }
        : undefined,
  };
}

/** The server answers something else. */
export function twist<N extends TName>(
  name: N,
  change: (body: Reply<N>, asked: Body<N>) => Partial<Reply<N>>,
  when: When<N> = always,
): Saboteur {
  return {
    reply: (answer, request) =>
      !isError(answer) && is(request, name, when)
        ? {
            pass: {
              ...answer,
              body: { ...answer.body, ...change(answer.body as Reply<N>, request.body as unknown as Body<N>) },
            } as Message,
          }
        : undefined,
  };
}

/** The answer is this, whatever it was. */
export function respond<N extends TName>(name: N, body: (asked: Body<N>) => Reply<N>, when: When<N> = always): Saboteur {
  return {
    request: (request) =>
      is(request, name, when) ? { answer: reply(name, request.tag, body(request.body as unknown as Body<N>)) } : undefined,
  };
}

/** The bytes of the answer are spoilt. */
export function spoil<N extends TName>(name: N, change: (frame: Uint8Array) => void): Saboteur {
  return { reply: (_, request) => (is(request, name, always) ? { spoil: change } : undefined) };
}

/** The answer never comes. */
export function swallow<N extends TName>(name: N, when: When<N> = always): Saboteur {
  return { reply: (_, request) => (is(request, name, when) ? 'swallow' : undefined) };
}

/** The connection ends instead of an answer. */
export function hangUp<N extends TName>(name: N, when: When<N> = always): Saboteur {
  return { request: (request) => (is(request, name, when) ? 'close' : undefined) };
}

/** A message that makes no sense is answered as if it did. */
export const welcome: Saboteur = {
  request: ({ name, tag }) =>
    name === 'raw' || name.startsWith('R') ? { answer: { name: 'Rclunk', tag, body: {} } as Message } : undefined,
};

/** Only from the nth time on that it would do something. */
export function from(nth: number, saboteur: Saboteur): Saboteur {
  let count = 0;
  const late = (deed: Deed): Deed => (deed !== undefined && ++count < nth ? undefined : deed);
  return {
    ...(saboteur.request && { request: (request: Message | Raw) => late(saboteur.request?.(request)) }),
    ...(saboteur.reply && { reply: (answer: Message, request: Message | Raw) => late(saboteur.reply?.(answer, request)) }),
  };
}

/** Only once such a request has been seen. */
export function after(name: TName, saboteur: Saboteur): Saboteur {
  let seen = false;
  return {
    request(request) {
      const deed = seen ? saboteur.request?.(request) : undefined;
      seen ||= request.name === name;
      return deed;
    },
    reply: (answer, request) => (seen && request.name !== name ? saboteur.reply?.(answer, request) : undefined),
  };
}

/** Whatever one of them does. */
export function any(...saboteurs: readonly Saboteur[]): Saboteur {
  const first = (deeds: readonly Deed[]): Deed => deeds.find((deed) => deed !== undefined);
  return {
    request: (request) => first(saboteurs.map((one) => one.request?.(request))),
    reply: (answer, request) => first(saboteurs.map((one) => one.reply?.(answer, request))),
  };
}

/** Every bit of what is read is wrong. */
export function garble(when: When<'Tread'> = always): Saboteur {
  return twist('Tread', ({ data }) => ({ data: Buffer.from(data).map((byte) => byte ^ 0xff) }), when);
}

/** Where there is nothing to read there is a byte. */
export const grow = twist('Tread', ({ data }) => ({ data: data.length === 0 ? Buffer.from('!') : data }));

/** Other entries. */
export function entries(
  change: (list: DirectoryEntry[], asked: Body<'Treaddir'>) => DirectoryEntry[],
  when: When<'Treaddir'> = always,
): Saboteur {
  return twist('Treaddir', ({ data }, asked) => ({ data: encodeEntries(change(decodeEntries(data), asked), 1 << 20) }), when);
}

/** An entry of that name is missing. */
export function hide(name: string | RegExp): Saboteur {
  return entries((list) => list.filter((entry) => !(typeof name === 'string' ? entry.name === name : name.test(entry.name))));
}

export const ghost: DirectoryEntry = { qid, offset: 1n, type: 8, name: 'ghost' };
