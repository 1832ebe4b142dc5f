import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Client, type ClientOptions, connect } from '../../lib/index.js';
import { qemuTransport } from '../../lib/qemu/index.js';
import { Sink, turns } from '../contracts/transport.js';
import { Random } from '../support/random.js';
import { requires } from '../support/requires.js';
import { temporaryDirectory } from '../support/temporary.js';

const O_RDWR = 2;
const O_CREAT = 0o100;

/** The QEMUs that a process has started and that have not ended. */
function machines(parent = process.pid): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\)/s, '').trim().split(' ');
        return (
          fields[0] !== 'Z' && Number(fields[1]) === parent && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('virtio-9p-device')
        );
      } catch {
        return false;
      }
    });
}

function alive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

async function eventually(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 10));
}

async function served(options: ClientOptions & { more?: string } = {}): Promise<{ client: Client; path: string }> {
  const path = temporaryDirectory('qemu');
  const { more = '', ...rest } = options;
  return { client: await connect(`qemu:path=${path},security_model=mapped-xattr${more}`, { retry: 0, ...rest }), path };
}

/** A frame of the protocol: size, type, tag, body. */
function frame(type: number, tag: number, body: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(7 + body.length);
  bytes.writeUInt32LE(bytes.length);
  bytes[4] = type;
  bytes.writeUInt16LE(tag, 5);
  bytes.set(body, 7);
  return bytes;
}

const version = (msize: number) => {
  const name = '9P2000.L';
  const body = Buffer.alloc(6 + name.length);
  body.writeUInt32LE(msize);
  body.writeUInt16LE(name.length, 4);
  body.write(name, 6);
  return frame(100, 0xffff, body);
};

const attach = () => frame(104, 0, Buffer.from([0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]));
const getattr = (tag: number) => frame(24, tag, Buffer.from([0, 0, 0, 0, 0xff, 7, 0, 0, 0, 0, 0, 0]));

async function raw(path: string, options: Partial<Parameters<typeof qemuTransport>[0]> = {}): Promise<Sink> {
  return new Sink(await qemuTransport({ path, securityModel: 'mapped-xattr', ...options })).start();
}

requires('qemu', 'linux')('qemu:', () => {
  test('files round trip in large frames, and lie on disk as QEMU puts them', async () => {
    const { client, path } = await served();
    expect(client.session.msize).toBe(1024 * 1024 + 24);
    const random = new Random();
    const content = random.bytes(3 * 1024 * 1024 + 17);
    const fid = await client.root.clone();
    await fid.create('file', O_RDWR | O_CREAT, 0o640, 0);
    const piece = client.session.maxPayload;
    for (let at = 0; at < content.length; at += piece)
      expect(await fid.write(content.subarray(at, at + piece), at)).toBe(Math.min(piece, content.length - at));
    const back = Buffer.alloc(content.length);
    for (let at = 0; at < back.length; ) at += await fid.read(back.subarray(at, at + piece), at);
    expect(back.equals(content), `seed ${random.seed}`).toBe(true);
    expect(readFileSync(join(path, 'file')).equals(content)).toBe(true);
    expect((await fid.getattr()).mode & 0o7777).toBe(0o640);
    expect(statSync(join(path, 'file')).mode & 0o7777).toBe(0o600);
    await fid.clunk();
    await client.close();
    expect(machines()).toEqual([]);
  });

  test('more requests than the queue has places wait, and all are answered', async () => {
    const path = temporaryDirectory('qemu');
    const sink = await raw(path, { depth: 2, backlog: 1000 });
    sink.send([version(8192)]);
    await sink.until(() => sink.total === 21);
    sink.send([attach()]);
    await sink.until(() => sink.total === 21 + 20);
    const answers: number[] = [];
    sink.take = (bytes) => {
      expect(bytes.length).toBe(160);
      answers.push((bytes[5] as number) + (bytes[6] as number) * 256);
    };
    const sent: number[] = [];
    let held = 0;
    for (let tag = 1; tag <= 500; tag++) {
      const bytes = getattr(tag);
      // Cut anywhere: the parts of one call are one frame.
      if (!sink.send([bytes.subarray(0, tag % 19), bytes.subarray(tag % 19)], () => sent.push(tag))) {
        held++;
        await sink.until(() => sink.drains === held);
      }
    }
    await sink.until(() => answers.length === 500);
    expect(held).toBeGreaterThan(5);
    const all = Array.from({ length: 500 }, (_, index) => index + 1);
    expect(sent).toEqual(all);
    expect(answers.sort((a, b) => a - b)).toEqual(all);
    await sink.close();
    expect([sink.violation, sink.error]).toEqual([undefined, undefined]);
  });

  test('a full queue behind a taker that pauses', async () => {
    const sink = await raw(temporaryDirectory('qemu'), { depth: 3 });
    sink.send([version(8192)]);
    await sink.until(() => sink.pieces === 1);
    sink.send([attach()]);
    await sink.until(() => sink.pieces === 2);
    sink.transport.pause();
    for (let tag = 1; tag <= 10; tag++) sink.send([getattr(tag)]);
    await turns(200);
    expect(sink.pieces).toBe(2);
    sink.transport.resume();
    await sink.until(() => sink.pieces === 12);
    await sink.close();
  });

  test('many requests at a time through the client, none lost', async () => {
    const { client } = await served();
    for (let round = 0; round < 5; round++) {
      const answers = await Promise.all(Array.from({ length: 1000 }, () => client.root.getattr()));
      expect(new Set(answers.map(({ qid }) => qid.path)).size).toBe(1);
    }
    await client.close();
  });

  test('a request that is cancelled comes back empty, and its place is used again', async () => {
    const { client, path } = await served({ more: ',throttling.iops-total=1', window: 4 });
    writeFileSync(join(path, 'slow'), 'x'.repeat(100));
    const fid = await client.root.walk(['slow']);
    await fid.open(0);
    const buffer = new Uint8Array(10);
    expect(await fid.read(buffer, 0)).toBe(10);
    for (let turn = 0; turn < 2; turn++) {
      const controller = new AbortController();
      const reading = fid.read(new Uint8Array(10), 0, { signal: controller.signal });
      await client.root.getattr();
      controller.abort();
      await expect(reading).rejects.toMatchObject({ name: 'AbortError' });
    }
    await Promise.all(Array.from({ length: 100 }, () => client.root.getattr()));
    await client.close();
    expect(machines()).toEqual([]);
  });

  test('options of -fsdev pass through', async () => {
    const path = temporaryDirectory('qemu');
    writeFileSync(join(path, 'there'), '');
    const client = await connect(`qemu:path=${path},security_model=none,readonly=on,multidevs=remap?msize=16384`, { retry: 0 });
    expect(client.session.msize).toBe(16384);
    await expect(client.root.mkdir('no', 0o755, 0)).rejects.toMatchObject({ code: 'EROFS' });
    await client.close();
    const transport = await qemuTransport({
      path,
      securityModel: 'mapped-xattr',
      fsdev: { fmode: '0644', dmode: '0750', readonly: false },
    });
    await transport.close();
  });

  test('a QEMU that is killed ends the stream with what became of it', async () => {
    const { client } = await served();
    const [pid] = machines();
    const answers = Array.from({ length: 50 }, () => client.root.getattr());
    process.kill(pid as number, 'SIGKILL');
    for (const answer of await Promise.allSettled(answers))
      if (answer.status === 'rejected') expect(String(answer.reason)).toMatch(/QEMU was ended by SIGKILL/);
    await expect(client.root.getattr()).rejects.toThrow('QEMU was ended by SIGKILL');
    await client.close();
    expect(machines()).toEqual([]);
  });

  test('a frame that makes no sense stops the device, and that is told', async () => {
    const path = temporaryDirectory('qemu');
    const sink = await raw(path);
    sink.send([version(8192)]);
    await sink.until(() => sink.pieces === 1);
    // A Twalk whose name is longer than its frame.
    const bad = frame(110, 1, Buffer.from([0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0xff, 0xff, 65]));
    sink.send([bad]);
    await sink.until(() => sink.ended);
    expect(sink.error).toMatchObject({ code: 'EPROTO' });
    // The interrupt of a good reply must not hide the bad news.
    const busy = await raw(path);
    busy.send([version(8192)]);
    await busy.until(() => busy.pieces === 1);
    busy.send([attach()]);
    await busy.until(() => busy.pieces === 2);
    for (let tag = 1; tag <= 20; tag++) busy.send([tag === 10 ? bad : getattr(tag)]);
    await busy.until(() => busy.ended);
    expect(busy.error).toMatchObject({ code: 'EPROTO' });
    expect(machines()).toEqual([]);
  });

  test('what is not one frame, or too large a one, is not sent', async () => {
    const path = temporaryDirectory('qemu');
    const cut = await raw(path, { depth: 1 });
    cut.send([getattr(1).subarray(1)]);
    await cut.until(() => cut.ended);
    expect(cut.error).toMatchObject({ code: 'EMSGSIZE' });
    const large = await raw(path, { depth: 1, maxFrame: 4096 });
    expect(large.transport.maxFrame).toBe(4096);
    large.send([frame(118, 1, Buffer.alloc(4096))]);
    await large.until(() => large.ended);
    expect(large.error).toMatchObject({ code: 'EMSGSIZE' });
    expect(machines()).toEqual([]);
  });

  test('what QEMU has against its options is told, and nothing is left', async () => {
    const before = readdirSync('/proc/self/fd').length;
    const path = join(temporaryDirectory('qemu'), 'none');
    await expect(qemuTransport({ path, securityModel: 'mapped-xattr' })).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringMatching(new RegExp(`QEMU exited with code 1: .*'${path}'.*No such file`)),
    });
    await expect(connect(`qemu:path=/,security_model=nonsense`, { retry: 0 })).rejects.toThrow(/nonsense|security model/i);
    await expect(qemuTransport({ path: '/', securityModel: 'none', binary: '/nowhere/qemu' })).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(qemuTransport({ path: '/', securityModel: 'none', binary: 'true' })).rejects.toThrow('QEMU exited with code 0');
    await expect(qemuTransport({ path: '/', securityModel: 'none', depth: 129 })).rejects.toThrow(RangeError);
    await eventually(() => readdirSync('/proc/self/fd').length <= before);
    expect(machines()).toEqual([]);
  });

  test('starting can be given up', async () => {
    const path = temporaryDirectory('qemu');
    const controller = new AbortController();
    const starting = qemuTransport({ path, securityModel: 'none', signal: controller.signal });
    controller.abort(new Error('no more'));
    await expect(starting).rejects.toMatchObject({ name: 'AbortError' });
    // Stopped at birth it never answers.
    const stopped = join(path, 'stopped');
    writeFileSync(stopped, '#!/bin/sh\nsleep 1000 & wait\n', { mode: 0o755 });
    await expect(qemuTransport({ path, securityModel: 'none', binary: stopped, timeout: 100 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
    });
    expect(machines()).toEqual([]);
  });

  test('close and destroy are idempotent, tell once, and leave no process and no descriptor', async () => {
    const path = temporaryDirectory('qemu');
    const before = readdirSync('/proc/self/fd').length;
    const sink = await raw(path);
    expect(machines().length).toBe(1);
    sink.send([version(8192)]);
    await Promise.all([sink.close(), sink.close()]);
    expect([sink.ended, sink.error, sink.violation]).toEqual([true, undefined, undefined]);
    expect(machines()).toEqual([]);
    const other = await raw(path);
    const error = new Error('enough');
    other.destroy(error);
    other.destroy();
    await other.until(() => other.ended);
    expect(other.error).toBe(error);
    await other.close();
    expect(other.send([version(8192)])).toBe(false);
    await eventually(() => readdirSync('/proc/self/fd').length <= before);
    expect(machines()).toEqual([]);
  });

  for (const end of ['process.exit()', 'process.kill(process.pid, "SIGKILL")'])
    test(`a process that ends by ${end} takes QEMU along`, async () => {
      const source = `
        import { qemuTransport } from './lib/qemu/index.ts';
        await qemuTransport({ path: '${temporaryDirectory('qemu')}', securityModel: 'none' });
        console.log('up');
        process.stdin.once('data', () => ${end});`;
      const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', source], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      await once(child.stdout, 'data');
      const [pid] = machines(child.pid);
      expect(pid).toBeGreaterThan(1);
      child.stdin.write('x');
      await once(child, 'exit');
      await eventually(() => !alive(pid as number));
    });
});
