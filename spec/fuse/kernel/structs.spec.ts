import { expect, test } from 'vitest';
import { Dirents } from '../../../lib/fuse/kernel/dirents.js';
import { negotiate, putInit, takeInit } from '../../../lib/fuse/kernel/init.js';
import { byCode, opcodes } from '../../../lib/fuse/kernel/opcodes.js';
import { Payload } from '../../../lib/fuse/kernel/payload.js';
import { Decoder, decodeDevice, Encoder, encodeDevice } from '../../../lib/fuse/kernel/structs.js';

/** Bytes as the kernel lays them out: numbers of so many bits, or text. */
function bytes(...fields: (readonly [8 | 16 | 32 | 64, number | bigint] | string)[]): Buffer {
  const parts = fields.map((field) => {
    if (typeof field === 'string') return Buffer.from(`${field}\0`);
    const [bits, value] = field;
    const part = Buffer.alloc(8);
    part.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
    return part.subarray(0, bits / 8);
  });
  return Buffer.concat(parts);
}

function decoder(buffer: Buffer): Decoder {
  const made = new Decoder();
  made.reset(buffer, new DataView(buffer.buffer, buffer.byteOffset, buffer.length), buffer.length);
  return made;
}

function encoded(run: (to: Encoder) => void): Buffer {
  const encoder = new Encoder();
  encoder.reset();
  run(encoder);
  return Buffer.concat([encoder.bytes.subarray(16, encoder.size), ...encoder.parts]);
}

const attr = {
  ino: 0xffff_ffff_ffff_fffen,
  size: 2 ** 40 + 5,
  blocks: 7,
  atime: { sec: -1, nsec: 999_999_999 },
  mtime: { sec: 2 ** 33, nsec: 1 },
  ctime: { sec: 3, nsec: 2 },
  mode: 0o100644,
  nlink: 2,
  uid: 4294967294,
  gid: 5,
  rdev: 0,
  blksize: 4096,
};
const attrBytes = bytes(
  [64, attr.ino],
  [64, attr.size],
  [64, 7],
  [64, -1],
  [64, 2 ** 33],
  [64, 3],
  [32, 999_999_999],
  [32, 1],
  [32, 2],
  [32, 0o100644],
  [32, 2],
  [32, 4294967294],
  [32, 5],
  [32, 0],
  [32, 4096],
  [32, 0],
);

test('replies are laid out as the kernel reads them', () => {
  expect(attrBytes.length).toBe(88);
  expect(encoded((to) => opcodes.getattr.encode(to, { attrValid: 1500, attr }))).toEqual(
    Buffer.concat([bytes([64, 1], [32, 500_000_000], [32, 0]), attrBytes]),
  );
  const entry = { nodeid: 2 ** 33, generation: 0, entryValid: 2250, attrValid: 0, attr };
  const entryBytes = Buffer.concat([bytes([64, 2 ** 33], [64, 0], [64, 2], [64, 0], [32, 250_000_000], [32, 0]), attrBytes]);
  expect(entryBytes.length).toBe(128);
  expect(encoded((to) => opcodes.lookup.encode(to, entry))).toEqual(entryBytes);
  expect(encoded((to) => opcodes.create.encode(to, { entry, open: { fh: 9, flags: 2 } }))).toEqual(
    Buffer.concat([entryBytes, bytes([64, 9], [32, 2], [32, 0])]),
  );
  expect(encoded((to) => opcodes.statx.encode(to, { attrValid: 0, attr, btime: { sec: 1, nsec: 2 } })).length).toBe(288);
  expect(
    encoded((to) => opcodes.statfs.encode(to, { blocks: 1n, bfree: 2n, bavail: 3n, files: 4n, ffree: 5n, bsize: 6, namelen: 7, frsize: 8 }))
      .length,
  ).toBe(80);
  expect(encoded((to) => opcodes.getlk.encode(to, { start: 1, end: 2 ** 63, type: 2, pid: 3 }))).toEqual(
    bytes([64, 1], [64, 0x7fffffffffffffffn], [32, 2], [32, 3]),
  );
  expect(encoded((to) => opcodes.read.encode(to, [Buffer.from('ab'), new Uint8Array(0), Buffer.from('c')])).toString()).toBe('abc');
});

test('requests are read as the kernel writes them', () => {
  const write = decoder(Buffer.concat([bytes([64, 1], [64, 2 ** 40], [32, 3], [32, 4], [64, 5], [32, 6], [32, 0]), Buffer.from('abcdef')]));
  const { data, ...body } = opcodes.write.decode(write);
  expect(body).toEqual({ fh: 1, offset: 2 ** 40, writeFlags: 4, flags: 6 });
  expect([data.bytes, write.lent === data, write.overrun]).toEqual([Buffer.from('abc'), true, false]);
  // What nobody keeps is gone with the operation; what is kept stays as its keeper has it.
  data.expire();
  expect(() => data.bytes).toThrow('after its operation');
  const kept = new Payload(Buffer.from('abc'), (lent) => Buffer.concat([lent, Buffer.from('!')]));
  expect([kept.keep(), kept.keep()].map(String)).toEqual(['abc!', 'abc!']);
  kept.expire();
  expect(String(kept.bytes)).toBe('abc!');
  expect(opcodes.rename2.decode(decoder(bytes([64, 1], [32, 2], [32, 0], 'from', 'tö')))).toEqual({
    newDirectory: 1,
    flags: 2,
    name: 'from',
    newName: 'tö',
  });
  const setattr = bytes(
    [32, 1],
    [32, 0],
    [64, 2],
    [64, 3],
    [64, 4],
    [64, -5],
    [64, 6],
    [64, 7],
    [32, 8],
    [32, 9],
    [32, 10],
    [32, 11],
    [32, 0],
    [32, 12],
    [32, 13],
    [32, 0],
  );
  expect(opcodes.setattr.decode(decoder(setattr))).toEqual({
    valid: 1,
    fh: 2,
    size: 3,
    lockOwner: 4n,
    atime: { sec: -5, nsec: 8 },
    mtime: { sec: 6, nsec: 9 },
    ctime: { sec: 7, nsec: 10 },
    mode: 11,
    uid: 12,
    gid: 13,
  });
  const latin = Buffer.from([0x66, 0xe9, 0]);
  const { name } = opcodes.lookup.decode(decoder(latin));
  expect(encoded((to) => to.payload(new Dirents(64, false).bytes)).length).toBe(0);
  const dirents = new Dirents(64, false);
  expect(dirents.add({ ino: 1n, offset: 2n, type: 8, name })).toBe(true);
  expect(Buffer.from(dirents.bytes).subarray(24, 26)).toEqual(latin.subarray(0, 2));
});

test('requests that are cut short are told from whole ones', () => {
  for (const [name, { decode }] of Object.entries(opcodes)) {
    const whole = decoder(Buffer.alloc(256, 'x\0'));
    decode(whole);
    if (whole.left === 256) continue;
    const cut = decoder(Buffer.alloc(3));
    decode(cut);
    expect([name, cut.overrun]).toEqual([
      name,
      ['lookup', 'unlink', 'rmdir', 'removexattr', 'symlink'].includes(name) ? cut.overrun : true,
    ]);
  }
});

test('every opcode has one record', () => {
  expect(byCode.filter((entry) => entry !== undefined).length).toBe(Object.keys(opcodes).length);
  expect(byCode[15]?.name).toBe('read');
});

test('entries of a directory stay within the size that was asked for', () => {
  for (const plus of [false, true]) {
    const dirents = new Dirents(plus ? 400 : 100, plus);
    let count = 0;
    while (dirents.add({ ino: 1n, offset: BigInt(count), type: 8, name: 'nine char' })) count++;
    expect(count).toBe(2);
    expect(dirents.fits('n')).toBe(dirents.bytes.length + dirents.sizeOf('n') <= (plus ? 400 : 100));
    expect(dirents.bytes.length % 8).toBe(0);
  }
});

test('device numbers survive both ways', () => {
  for (const [major, minor] of [
    [8, 1],
    [259, 0],
    [4095, 1048575],
    [0, 255],
    [1, 256],
  ] as const) {
    expect(decodeDevice(encodeDevice(major, minor))).toEqual({ major, minor });
  }
  expect(encodeDevice(8, 1)).toBe(0x801);
});

test('only what the kernel offers is taken up', () => {
  const request = takeInit(decoder(bytes([32, 7], [32, 45], [32, 131072], [32, 0xffffffff], [32, 0xffffffff])));
  expect(request).toEqual({ major: 7, minor: 45, maxReadahead: 131072, flags: 0xffffffff, flags2: 0xffffffff });
  const options = {
    maxWrite: 1 << 20,
    maxReadahead: 1 << 20,
    remoteLocks: true,
    writeback: true,
    posixAcl: true,
    explicitInvalidation: false,
    cacheSymlinks: true,
    readdirplus: 'auto' as const,
  };
  const reply = negotiate(request, options);
  expect(reply).toMatchObject({ minor: 41, maxPages: 256, maxWrite: 1 << 20 });
  expect(encoded((to) => putInit(to, reply)).length).toBe(64);
  // flags2 has FUSE_PASSTHROUGH at bit 37 - 32; max_stack_depth follows it.
  const backed = negotiate(request, { ...options, writeback: false, passthrough: true });
  expect([reply, backed].map(({ flags2 }) => flags2 & (1 << 5))).toEqual([0, 1 << 5]);
  expect(negotiate(request, { ...options, passthrough: true }).flags2 & (1 << 5)).toBe(0);
  expect(negotiate({ ...request, flags2: 0 }, { ...options, writeback: false, passthrough: true }).flags2).toBe(0);
  expect([reply, backed].map((one) => encoded((to) => putInit(to, one)).readUInt32LE(36))).toEqual([0, 1]);
  expect(negotiate({ ...request, flags: 0, flags2: 0, minor: 31 }, options)).toMatchObject({ flags: 0, flags2: 0, minor: 31 });
  const plain = negotiate(request, {
    ...options,
    remoteLocks: false,
    writeback: false,
    posixAcl: false,
    cacheSymlinks: false,
    readdirplus: 'never',
  });
  expect(reply.flags & ~plain.flags & ((1 << 1) | (1 << 10) | (1 << 16) | (1 << 20))).toBe((1 << 1) | (1 << 10) | (1 << 16) | (1 << 20));
});
