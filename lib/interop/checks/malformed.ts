import { VERSION_L } from '../../protocol/constants.js';
import { ALL, type Check, checks, type Entry, L } from '../check.js';
import { same, that } from '../expect.js';
import { Unsupported } from '../outcome.js';
import { stepsOf } from '../place.js';
import { STRANGER, type Trial } from '../trial.js';
import type { Wire } from '../wire.js';
import { each } from './names.js';

/** A frame of any type, tag and body, its size field right unless another is given. */
function frame(type: number, tag: number, body: Uint8Array, size = 7 + body.length): Buffer {
  const head = Buffer.alloc(7);
  head.writeUInt32LE(size >>> 0, 0);
  head.writeUInt8(type, 4);
  head.writeUInt16LE(tag, 5);
  return Buffer.concat([head, body]);
}

function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => {
    bytes.writeUInt32LE(value >>> 0, 4 * index);
  });
  return bytes;
}

function u16(value: number): Buffer {
  return Buffer.from([value & 0xff, value >>> 8]);
}

/** A connection with a root attached to fid 1. */
async function begun(t: Trial): Promise<Wire> {
  const wire = await t.connection();
  await wire.request('Tattach', t.attachBody(1));
  return wire;
}

/** A connection as above, with a file open as fid 2: what is asked of that would be done if it were asked as it should be. */
async function opened(t: Trial): Promise<Wire> {
  await (await t.file('0123456789')).clunk();
  const wire = await begun(t);
  let fid = 1;
  for (const wnames of stepsOf([...t.path, 'file'])) {
    await wire.request('Twalk', { fid, newfid: 2, wnames });
    fid = 2;
  }
  if (wire.dialect === VERSION_L) await wire.request('Tlopen', { fid: 2, flags: 2 });
  else await wire.request('Topen', { fid: 2, mode: 2 });
  return wire;
}

/** It is answered with an error, or the connection ends; the server goes on. */
async function rejected(
  t: Trial,
  bytes: (tag: number) => Uint8Array,
  stillGood: (wire: Wire) => Promise<void>,
  begin: (t: Trial) => Promise<Wire> = begun,
): Promise<void> {
  const wire = await begin(t);
  try {
    const tag = wire.newTag();
    const answer = await t.answerOrEnd(wire.postRaw(bytes(tag), tag));
    that(answer === undefined || answer.name === 'Rlerror' || answer.name === 'Rerror', `it answered ${answer?.name}`);
    // A server may answer first and then end the connection; if it goes on, then as before.
    if (answer !== undefined) await t.unlessEnded(wire, stillGood(wire));
  } finally {
    wire.destroy();
  }
  await t.others();
}

/** After an error the connection is as good as before. */
async function works(wire: Wire): Promise<void> {
  await wire.request('Twalk', { fid: 1, newfid: 10, wnames: [] });
}

/** type, body: complete messages whose fields make no sense. */
const bodies: readonly (readonly [id: string, rule: string, type: number, body: Uint8Array, begin?: typeof opened])[] = [
  ['empty-body', 'A request without its fields', 110, Buffer.alloc(0)],
  ['cut-in-number', 'A request that ends in the middle of a number', 116, Buffer.concat([u32(2), Buffer.alloc(5)]), opened],
  ['trailing', 'A request with bytes after its last field', 116, Buffer.concat([u32(2, 0, 0, 4), Buffer.alloc(9)]), opened],
  ['string-over', 'A string longer than its message', 110, Buffer.concat([u32(1, 50), u16(1), u16(5000), Buffer.from('abc')])],
  ['names-over', 'A walk of fewer names than it announces', 110, Buffer.concat([u32(1, 50), u16(5), u16(1), Buffer.from('a')])],
  ['names-65535', 'A walk that announces 65535 names', 110, Buffer.concat([u32(1, 50), u16(65535)])],
  ['data-over', 'A write of fewer bytes than it announces', 118, Buffer.concat([u32(2, 0, 0, 100), Buffer.alloc(10)]), opened],
  ['data-2g', 'A write that announces 2^31 bytes', 118, Buffer.concat([u32(2, 0, 0, 0x80000000), Buffer.alloc(10)]), opened],
  [
    'uname-over',
    'An attach whose uname is longer than its message',
    104,
    Buffer.concat([u32(60, 0xffffffff), u16(60000), Buffer.from('me')]),
  ],
  ['type-0', 'A message of type 0', 0, u32(1)],
  ['type-255', 'A message of type 255', 255, u32(1)],
  ['type-106', 'Terror, which there is not', 106, u32(1)],
];

/** R messages, which a server sends and never takes. */
const replies: readonly (readonly [id: string, type: number, body: Uint8Array])[] = [
  ['reply-clunk', 121, Buffer.alloc(0)],
  ['reply-walk', 111, u16(0)],
  ['reply-read', 117, Buffer.concat([u32(3), Buffer.from('abc')])],
  ['reply-error', 7, u32(5)],
];

function bad(rule: string, type: number, body: Uint8Array, begin?: typeof opened): Entry {
  return [
    `${rule} is refused, or ends the connection; the server goes on`,
    (t) => rejected(t, (tag) => frame(type, tag, body), works, begin),
  ];
}

function demandStream({ isStream }: Wire): void {
  if (!isStream) throw new Unsupported('each message is a buffer of its own here');
}

async function cut(t: Trial, size: number): Promise<void> {
  const wire = await begun(t);
  try {
    demandStream(wire);
    // The connection ends, or else nothing that is not there is believed.
    wire.sendRaw(frame(120, wire.newTag(), u32(STRANGER), size));
    await t.soon(wire.over, 'the connection goes on');
  } finally {
    wire.destroy();
  }
  return t.others();
}

export const malformed: Check[] = checks(
  'malformed input',
  { source: 'intro(5): the form of a message', dialects: ALL },
  {
    ...Object.fromEntries(bodies.map(([id, rule, type, body, begin]) => [`malformed.${id}`, bad(rule, type, body, begin)])),
    ...Object.fromEntries(replies.map(([id, type, body]) => [`malformed.${id}`, bad('An R message', type, body)])),
    'malformed.cut-setattr': [
      'A Tsetattr that ends too early is refused, or ends the connection; the server goes on',
      (t) => rejected(t, (tag) => frame(26, tag, u32(1, 0, 0)), works),
      { dialects: L },
    ],
    ...each<[size: number]>(
      [
        ['size-0', 0],
        ['size-6', 6],
        ['size-huge', 0xffffffff],
        ['size-over-msize', 0x00200000],
      ],
      'malformed.',
      (size) => ['A size that no message can have ends the connection; the server goes on', (t) => cut(t, size)],
    ),
    'malformed.over-msize': [
      'A message longer than msize is refused, or ends the connection; the server goes on',
      (t) =>
        rejected(
          t,
          (tag) => frame(118, tag, Buffer.concat([u32(2, 0, 0, t.wire.msize), Buffer.alloc(t.wire.msize)])),
          async () => {},
          opened,
        ),
      { source: 'version(5): msize' },
    ],
    'malformed.bytes': [
      'A message may come byte by byte',
      async (t) => {
        const wire = await begun(t);
        try {
          demandStream(wire);
          const tag = wire.newTag();
          const bytes = wire.encode('Twalk', { fid: 1, newfid: 77, wnames: [] }, tag);
          for (let at = 0; at < bytes.length - 1; at++) {
            wire.sendRaw(bytes.subarray(at, at + 1));
            await new Promise(setImmediate);
          }
          const answer = await t.soon(wire.postRaw(bytes.subarray(bytes.length - 1), tag), 'it is not answered');
          same(answer.name, 'Rwalk', 'the answer');
        } finally {
          wire.destroy();
        }
      },
      { source: 'a stream keeps no boundaries' },
    ],
    'malformed.together': [
      'Several messages may come in one piece',
      async (t) => {
        const wire = await begun(t);
        try {
          demandStream(wire);
          const tags = [wire.newTag(), wire.newTag() + 1, wire.newTag() + 2];
          const frames = tags.map((tag, index) => wire.encode('Twalk', { fid: 1, newfid: 70 + index, wnames: [] }, tag));
          const waiting = tags.slice(0, 2).map((tag) => wire.postRaw(new Uint8Array(0), tag));
          waiting.push(wire.postRaw(Buffer.concat(frames), tags[2] as number));
          const names = (await t.soon(Promise.all(waiting), 'not all are answered')).map(({ name }) => name);
          same(names, ['Rwalk', 'Rwalk', 'Rwalk'], 'the answers');
        } finally {
          wire.destroy();
        }
      },
      { source: 'a stream keeps no boundaries' },
    ],
    'malformed.half-then-gone': [
      'A connection that ends in the middle of a message does the server no harm',
      async (t) => {
        const wire = await begun(t);
        wire.sendRaw(wire.isStream ? wire.encode('Tclunk', { fid: 1 }).subarray(0, 9) : wire.encode('Tclunk', { fid: 1 }));
        await wire.close();
        await t.alive();
      },
      { source: 'connections break' },
    ],
  },
);
