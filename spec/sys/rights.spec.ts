import { closeSync, fstatSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { close, EAGAIN, setNonblocking, socketpair, write } from '../../lib/sys/io.js';
import { MAX_PASSED, type Received, receiveDescriptor, receiveWith, sendWith } from '../../lib/sys/rights.js';
import { tellSender } from '../../lib/sys/socket.js';
import { run } from '../support/child.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));
const open = () => readdirSync('/proc/self/fd').length;

/** Files of a number in their name, opened; `find` tells which one a descriptor is of. */
function files(root: TemporaryDirectory, count: number) {
  const inodes = Array.from({ length: count }, (_, index) => {
    writeFileSync(root.join(`${index}`), '');
    const fd = openSync(root.join(`${index}`), 'r');
    return { fd, ino: fstatSync(fd).ino };
  });
  return {
    fds: inodes.map(({ fd }) => fd),
    find: (fd: number) => inodes.findIndex(({ ino }) => ino === fstatSync(fd).ino),
    close: () => {
      for (const { fd } of inodes) closeSync(fd);
    },
  };
}

requires('linux')('descriptors over a unix socket', () => {
  test.each([1, 3, MAX_PASSED])('%d of them arrive in order, with the first byte', async (count) => {
    const before = open();
    await using root = new TemporaryDirectory('rights');
    const opened = files(root, count);
    const [ours, theirs] = socketpair();
    const received: Received = { descriptors: [], sender: undefined, lost: false };
    expect(write(ours, bytes('before'))).toBe(6);
    expect(sendWith(ours, [bytes('he'), bytes('ad'), bytes('body')], 2, opened.fds)).toBe(6);
    const buffer = new Uint8Array(100);
    // What comes with descriptors is not joined to what came before, on either side.
    const texts = [];
    for (let have = 0; have < 12; ) {
      const got = receiveWith(theirs, buffer, received);
      texts.push([Buffer.from(buffer.subarray(0, got)).toString(), received.descriptors.length]);
      have += got;
    }
    expect(texts[texts.length - 1]?.[1]).toBe(count);
    expect(texts.map(([text]) => text).join('')).toBe('beforeadbody');
    expect(received.descriptors.map(opened.find)).toEqual(opened.fds.map((_, index) => index));
    expect(received.sender).toBeUndefined();
    for (const fd of [...received.descriptors, ours, theirs]) close(fd);
    opened.close();
    expect(open()).toBe(before);
  });

  test('a full socket takes none of them, and one that takes a part of the bytes takes them all', async () => {
    await using root = new TemporaryDirectory('rights');
    const opened = files(root, 1);
    const [ours, theirs] = socketpair();
    setNonblocking(ours);
    setNonblocking(theirs);
    const large = new Uint8Array(1 << 22);
    const taken = sendWith(ours, [large], 0, opened.fds);
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThan(large.length);
    while (write(ours, large) > 0);
    expect(sendWith(ours, [bytes('more')], 0, opened.fds)).toBe(EAGAIN);
    const received: Received = { descriptors: [], sender: undefined, lost: false };
    let total = 0;
    for (let got = 0; got !== EAGAIN; total += Math.max(got, 0)) got = receiveWith(theirs, large, received);
    expect(received.descriptors).toHaveLength(1);
    expect(total).toBeGreaterThanOrEqual(taken);
    expect(received.descriptors.map(opened.find)).toEqual([0]);
    for (const fd of [...received.descriptors, ours, theirs]) close(fd);
    opened.close();
  });

  test('who sent them is told where that is asked for', async () => {
    const [ours, theirs] = socketpair();
    tellSender(theirs);
    const received: Received = { descriptors: [], sender: undefined, lost: false };
    expect(write(ours, bytes('x'))).toBe(1);
    expect(receiveWith(theirs, new Uint8Array(10), received)).toBe(1);
    expect(received).toEqual({ descriptors: [], sender: undefined, lost: false });
    expect(sendWith(ours, [bytes('y')], 0, [ours])).toBe(1);
    expect(receiveWith(theirs, new Uint8Array(10), received)).toBe(1);
    expect(received).toEqual({ descriptors: [expect.any(Number)], sender: process.getuid?.(), lost: false });
    for (const fd of [...received.descriptors, ours, theirs]) close(fd);
  });

  test('one by itself, none, and none yet', () => {
    const [ours, theirs] = socketpair();
    setNonblocking(theirs);
    expect(receiveDescriptor(theirs)).toBe(EAGAIN);
    sendWith(ours, [bytes('x')], 0, [ours]);
    const fd = receiveDescriptor(theirs) as number;
    expect(fstatSync(fd).ino).toBe(fstatSync(ours).ino);
    write(ours, bytes('x'));
    expect(receiveDescriptor(theirs)).toBeUndefined();
    close(fd);
    close(ours);
    expect(receiveDescriptor(theirs)).toBeUndefined();
    close(theirs);
  });

  test('that this process may not open one any more is told, and what it could is known', async () => {
    const work = `
      import { closeSync, openSync } from 'node:fs';
      import { close, read, socketpair } from '${new URL('../../lib/sys/io.ts', import.meta.url)}';
      import { EMFILE, receiveDescriptor, receiveWith, sendWith } from '${new URL('../../lib/sys/rights.ts', import.meta.url)}';
      const [ours, theirs] = socketpair();
      sendWith(ours, [new Uint8Array(1)], 0, Array(200).fill(0));
      const received = { descriptors: [], sender: undefined, lost: false };
      const count = receiveWith(theirs, new Uint8Array(10), received);
      sendWith(ours, [new Uint8Array(1)], 0, [0]);
      const one = receiveDescriptor(theirs);
      for (const fd of received.descriptors) close(fd);
      closeSync(openSync('/dev/null', 'r'));
      console.log(count === 1, received.lost, one === EMFILE, received.descriptors.length > 0, received.descriptors.length < 200);`;
    const { stdout } = await run('prlimit', ['--nofile=128', process.execPath, '--import', 'tsx', '--input-type=module', '-e', work]);
    expect(stdout).toBe('true true true true true\n');
  });
});
