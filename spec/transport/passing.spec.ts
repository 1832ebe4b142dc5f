/** Descriptors that a transport passes and takes along with its bytes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { close, socketpair } from '../../lib/sys/io.js';
import { MAX_PASSED } from '../../lib/sys/rights.js';
import { dial, listen, type Receiver, type Transport } from '../../lib/transport/index.js';
import { PolledTransport } from '../../lib/transport/polled.js';
import { run } from '../support/child.js';
import { openBelow } from '../support/descriptors.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));
/** Where the files are whose descriptors are passed. */
const place = new TemporaryDirectory('passing');
/** Descriptors of those files: what else a process has open comes and goes. */
const open = () => openBelow(place.path);

const some = place.join('some');

/** Takes what comes, and a descriptor for each `+` in it. */
class Taker implements Receiver {
  text = '';
  readonly inodes: (number | undefined)[] = [];
  ended = false;
  #transport: Transport;
  readonly #buffer: Uint8Array;

  constructor(transport: Transport, room = 65536) {
    this.#transport = transport;
    this.#buffer = new Uint8Array(room);
    transport.start(this);
  }

  target = () => this.#buffer;
  filled = (count: number) => this.push(this.#buffer.subarray(0, count));
  push(chunk: Uint8Array): void {
    const text = Buffer.from(chunk).toString();
    this.text += text;
    for (const letter of text) {
      if (letter !== '+') continue;
      const fd = this.#transport.takeDescriptor?.();
      this.inodes.push(fd === undefined ? undefined : fstatSync(fd).ino);
      if (fd !== undefined) closeSync(fd);
    }
  }
  drained(): void {}
  closed(): void {
    this.ended = true;
  }
}

function pair(options = {}): [PolledTransport, PolledTransport] {
  const [ours, theirs] = socketpair();
  return [new PolledTransport('ours', ours, ours), new PolledTransport('theirs', theirs, theirs, { descriptors: true, ...options })];
}

requires(
  'root',
  'setpriv',
  'python3',
)('a transport that passes descriptors', () => {
  beforeAll(() => writeFileSync(some, ''));
  afterAll(() => place.remove());

  test('brings each no later than the bytes that promise it, in whatever parts they are read', async () => {
    const before = open();
    for (const room of [1, 7, 65536]) {
      const [ours, theirs] = pair();
      expect([ours.passes, ours.takes, theirs.takes]).toEqual([true, false, true]);
      const taker = new Taker(theirs, room);
      new Taker(ours);
      const wanted: number[] = [];
      let text = '';
      for (let n = 0; n < 60; n++) {
        const fds = Array.from({ length: n % 4 }, () => {
          writeFileSync(place.join('f'), '');
          const fd = openSync(place.join('f'), 'r');
          wanted.push(fstatSync(fd).ino);
          return fd;
        });
        const parts = [bytes(`<${'+'.repeat(fds.length)}`), bytes(`${n}>`)];
        text += `<${'+'.repeat(fds.length)}${n}>`;
        if (fds.length > 0) ours.send(parts, undefined, fds);
        else ours.send(parts);
        // Some leave together, some by themselves.
        if (n % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await expect.poll(() => taker.text).toBe(text);
      expect(taker.inodes).toEqual(wanted);
      ours.destroy();
      await expect.poll(() => taker.ended).toBe(true);
    }
    await expect.poll(open).toBe(before);
  });

  test('has them wait with their bytes while the peer reads nothing, and closes what it could not send', async () => {
    const before = open();
    for (const taken of [true, false]) {
      const [ours, theirs] = pair();
      new Taker(ours);
      for (let n = 0; n < 20; n++) ours.send([bytes(`+${'x'.repeat(1 << 18)}`)], undefined, [openSync(some, 'r')]);
      await new Promise((resolve) => setImmediate(resolve));
      if (taken) {
        const taker = new Taker(theirs);
        await expect.poll(() => taker.inodes.length, { timeout: 20_000 }).toBe(20);
        expect(new Set(taker.inodes)).toEqual(new Set([fstatSync(openOnce(some)).ino]));
      } else new Taker(theirs);
      ours.destroy();
      theirs.destroy();
    }
    await expect.poll(open).toBe(before);
  });

  test('closes those that it does not pass: after its end, too many at once, with no byte to go with', async () => {
    const before = open();
    const [ours, theirs] = pair();
    const taker = new Taker(theirs);
    new Taker(ours);
    const many = (length: number) => Array.from({ length }, () => openSync(some, 'r'));
    expect(() => ours.send([bytes('+')], undefined, many(MAX_PASSED + 1))).toThrow(RangeError);
    for (const parts of [[], [new Uint8Array(0), bytes('+')]]) {
      expect(() => ours.send(parts, undefined, [openSync(some, 'r')])).toThrow(RangeError);
    }
    ours.send([bytes('+')], undefined, many(MAX_PASSED));
    await expect.poll(() => taker.inodes.length).toBe(1);
    expect(taker.text).toBe('+');
    void ours.close();
    expect(ours.send([bytes('+')], undefined, [openSync(some, 'r')])).toBe(false);
    await ours.close();
    expect(ours.send([bytes('+')], undefined, [openSync(some, 'r')])).toBe(false);
    await expect.poll(() => taker.ended).toBe(true);
    await expect.poll(open).toBe(before);
  });

  test('has them go with the copies of what is queued', async () => {
    const before = open();
    const [ours, theirs] = pair();
    const taker = new Taker(theirs);
    new Taker(ours);
    const parts = [bytes('a'), bytes('+'), bytes('b')];
    for (const part of parts) ours.send([part], undefined, part[0] === 43 ? [openSync(some, 'r')] : undefined);
    ours.copyQueued();
    for (const part of parts) part.fill(0);
    await expect.poll(() => taker.text).toBe('a+b');
    expect(taker.inodes).toEqual([statSync(some).ino]);
    ours.destroy();
    await expect.poll(open).toBe(before);
  });

  test('keeps none that nobody takes, nor more than are of any use', async () => {
    const before = open();
    // Made without the option: the kernel closes them.
    const [ours, theirs] = pair({ descriptors: false });
    const taker = new Taker(theirs);
    new Taker(ours);
    ours.send([bytes('+')], undefined, [openSync(some, 'r')]);
    await expect.poll(() => taker.inodes).toEqual([undefined]);
    ours.destroy();
    const [flood, flooded] = pair();
    const other = new Taker(flooded);
    new Taker(flood);
    for (let n = 0; n < 1100 && !other.ended; n += 100) {
      flood.send(
        [bytes('x')],
        undefined,
        Array.from({ length: 100 }, () => openSync(some, 'r')),
      );
      await expect.poll(() => other.ended || other.text.length === n / 100 + 1).toBe(true);
    }
    expect(other.ended).toBe(true);
    await expect.poll(open).toBe(before);
  });

  test('takes none of who is not root, whoever made the socket', async () => {
    const before = open();
    const [ours, theirs] = socketpair();
    const taking = new PolledTransport('theirs', theirs, theirs, { descriptors: true });
    const taker = new Taker(taking);
    const send = `import array, os, socket
os.setresuid(65534, 65534, 65534)
s = socket.socket(fileno=3)
s.sendmsg([b'+one'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0]))])
s.sendall(b'two')`;
    const child = spawn('python3', ['-c', send], {
      stdio: ['ignore', 'inherit', 'inherit', ours],
    });
    expect(await once(child, 'close')).toEqual([0, null]);
    await expect.poll(() => taker.text).toBe('+onetwo');
    expect(taker.inodes).toEqual([undefined]);
    // And of nobody from then on, as it cannot be told which answer one would be for.
    const again = new PolledTransport('ours', ours, ours);
    new Taker(again);
    again.send([bytes('+')], undefined, [openSync(some, 'r')]);
    await expect.poll(() => taker.inodes).toEqual([undefined, undefined]);
    again.destroy();
    taking.destroy();
    await expect.poll(open).toBe(before);
  });

  test('a process that may not have more of them on their way waits until some have come', async () => {
    const work = `
      import { closeSync, openSync } from 'node:fs';
      import { PolledTransport } from '${new URL('../../lib/transport/polled.ts', import.meta.url)}';
      import { socketpair } from '${new URL('../../lib/sys/io.ts', import.meta.url)}';
      const [ours, theirs] = socketpair();
      const ended = (error) => { if (error) console.log(String(error)); };
      const receiver = (filled) => ({ target: () => new Uint8Array(64), filled, push() {}, drained() {}, closed: ended });
      const asks = new PolledTransport('asks', ours, ours, { descriptors: true });
      const passes = new PolledTransport('passes', theirs, theirs);
      passes.start(receiver(() => {}));
      let got = 0;
      asks.start(receiver(() => {
        for (let fd = asks.takeDescriptor(); fd !== undefined; fd = asks.takeDescriptor(), got++) closeSync(fd);
        if (got < 300) return;
        console.log('all');
        asks.destroy();
      }));
      asks.pause();
      for (let times = 0; times < 12; times++) {
        passes.send([Uint8Array.of(1)], undefined, Array.from({ length: 25 }, () => openSync('/dev/null')));
        for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve));
      }
      asks.resume();`;
    // Who may not lift the limit: as many as a process may have open.
    const { stdout } = await run('setpriv', [
      ...['--bounding-set', '-sys_admin,-sys_resource', '--inh-caps', '-sys_admin,-sys_resource'],
      ...['prlimit', '--nofile=200:200', process.execPath, '--import', 'tsx', '--input-type=module', '-e', work],
    ]);
    expect(stdout).toBe('all\n');
  });

  test('a process that may open no more goes on without those that come then, and without any that come later', async () => {
    const work = `
      import { closeSync, openSync, readdirSync } from 'node:fs';
      import { PolledTransport } from '${new URL('../../lib/transport/polled.ts', import.meta.url)}';
      import { socketpair } from '${new URL('../../lib/sys/io.ts', import.meta.url)}';
      const [ours, theirs] = socketpair();
      const ended = (error) => console.log('ended', String(error));
      const receiver = (filled) => ({ target: () => new Uint8Array(64), filled, push() {}, drained() {}, closed: ended });
      const asks = new PolledTransport('asks', ours, ours, { descriptors: true });
      const passes = new PolledTransport('passes', theirs, theirs);
      passes.start(receiver(() => {}));
      let got = 0;
      asks.start(receiver((count) => { got += count; }));
      asks.pause();
      const before = readdirSync('/proc/self/fd').length;
      const turn = () => new Promise((resolve) => setImmediate(resolve));
      const comes = async (bytes) => { while (got < bytes) await turn(); };
      const some = (count) => Array.from({ length: count }, () => openSync('/dev/null'));
      passes.send([new Uint8Array(10)], undefined, some(20));
      passes.send([new Uint8Array(10)]);
      passes.send([new Uint8Array(10)], undefined, some(1));
      await turn();
      await turn();
      const filled = [];
      try { for (;;) filled.push(openSync('/dev/null')); } catch {}
      for (const fd of filled.splice(0, 5)) closeSync(fd);
      asks.resume();
      await comes(30);
      for (const fd of filled) closeSync(fd);
      const told = [asks.takes, asks.takeDescriptor()];
      passes.send([new Uint8Array(10)], undefined, some(1));
      await comes(40);
      told.push(asks.takeDescriptor(), readdirSync('/proc/self/fd').length - before);
      console.log(JSON.stringify(told));
      process.exit();`;
    const { stdout } = await run('prlimit', ['--nofile=128', process.execPath, '--import', 'tsx', '--input-type=module', '-e', work]);
    expect(stdout).toBe('[false,null,null,0]\n');
  });

  test('is a unix socket on both ends, and nothing else', async () => {
    await using root = new TemporaryDirectory('passing');
    for (const [address, expected] of [
      [`unix:${root.join('socket')}`, true],
      ['tcp://127.0.0.1:0', false],
    ] as const) {
      const accepted: Transport[] = [];
      const listener = await listen(address, (transport) => accepted.push(transport), { polled: true });
      const dialled = await dial(listener.address, { polled: true, descriptors: true });
      await expect.poll(() => accepted.length).toBe(1);
      expect([dialled, ...accepted].map(({ passes, takes }) => [passes, takes])).toEqual([
        [expected, expected],
        [expected, false],
      ]);
      const fd = openSync(some, 'r');
      if (!expected) expect(() => dialled.send([bytes('x')], undefined, [fd])).toThrow(RangeError);
      else close(fd);
      for (const each of [dialled, ...accepted]) each.destroy();
      await listener.close();
    }
  });
});

function openOnce(path: string): number {
  const fd = openSync(path, 'r');
  setImmediate(() => closeSync(fd));
  return fd;
}
