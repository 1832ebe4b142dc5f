import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { close, EAGAIN, POLLHUP, POLLIN, POLLOUT, pipe, read, readv, setNonblocking, socketpair, write, writev } from '../../lib/sys/io.js';
import { poller, type Registration } from '../../lib/sys/poller.js';

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

function withPair<T>(run: (a: number, b: number) => Promise<T>): Promise<T> {
  const [a, b] = socketpair();
  setNonblocking(a);
  setNonblocking(b);
  return run(a, b).finally(() => {
    close(a);
    close(b);
  });
}

function ready(fd: number, events: number): Promise<{ events: number; watch: Registration }> {
  return new Promise((resolve) => {
    const watch = poller().add(fd, events, (found) => resolve({ events: found, watch }));
  });
}

test('calls give counts, or the error number negated', () =>
  withPair(async (a, b) => {
    const buffer = new Uint8Array(8);
    expect(read(a, buffer)).toBe(EAGAIN);
    expect(write(b, Buffer.from('abcdef'), 1, 4)).toBe(4);
    expect(read(a, buffer, 2)).toBe(4);
    expect(text(buffer)).toBe('\0\0bcde\0\0');
    expect(() => read(a, buffer, 4, 5)).toThrow(RangeError);
    expect(read(-1, buffer)).toBe(-9);
  }));

test('vectors keep their order, skip what was written and pass over empty parts', () =>
  withPair(async (a, b) => {
    const parts = ['ab', '', 'cdef', 'g'].map((part) => Buffer.from(part));
    expect(writev(b, parts, 3)).toBe(4);
    const one = new Uint8Array(3);
    const two = new Uint8Array(3);
    expect(readv(a, [one, two])).toBe(4);
    expect(text(one) + text(two)).toBe('defg\0\0');
  }));

test('an event in an idle loop and events one after the other reach the owner', () =>
  withPair(async (a, b) => {
    const { events, watch } = await (async () => {
      const waiting = ready(a, POLLIN);
      setTimeout(() => write(b, Buffer.from('x')), 20);
      return waiting;
    })();
    expect(events & POLLIN).toBe(POLLIN);
    watch.remove();
    const buffer = new Uint8Array(1);
    let turns = 0;
    await new Promise<void>((resolve) => {
      const echo = poller().add(b, POLLIN, () => {
        if (read(b, buffer) === 1) write(b, buffer);
      });
      const ask = poller().add(a, POLLIN, () => {
        if (read(a, buffer) !== 1) return;
        if (++turns < 1000) return void write(a, buffer);
        echo.remove();
        ask.remove();
        resolve();
      });
      write(a, buffer);
    });
    expect(turns).toBe(1000);
  }));

test('a busy poller holds up neither timers, promises, immediates nor the thread pool', () =>
  withPair(async (a, b) => {
    const watches = [a, b].map((fd) => {
      const buffer = new Uint8Array(1);
      return poller().add(fd, POLLIN, () => {
        if (read(fd, buffer) === 1) write(fd, buffer);
      });
    });
    write(a, Buffer.from('x'));
    const { readFile } = await import('node:fs/promises');
    for (let turn = 0; turn < 20; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      await new Promise((resolve) => setImmediate(resolve));
      await readFile('/proc/self/stat');
    }
    const child = spawn('true');
    expect((await once(child, 'exit'))[0]).toBe(0);
    for (const watch of watches) watch.remove();
  }));

test('a thread that polls busily asks again between events that follow one another, and not once it is told to leave off', () =>
  withPair(async (a, b) => {
    const buffer = new Uint8Array(1);
    let events = 0;
    const watches = [a, b].map((fd) =>
      poller().add(fd, POLLIN, () => {
        events++;
        if (read(fd, buffer) === 1) write(fd, buffer);
      }),
    );
    /** For so many events more. */
    const follow = async (count: number) => {
      for (const end = events + count; events < end; ) await new Promise((resolve) => setImmediate(resolve));
    };
    write(a, Buffer.from('x'));
    const before = poller().turns;
    await follow(100);
    expect(poller().turns).toBe(before);
    const leaveOff = [poller().busyPoll(500), poller().busyPoll(20_000), poller().busyPoll(0)];
    if (availableParallelism() > 1) while (poller().turns === before) await follow(10);
    leaveOff[1]?.();
    leaveOff[1]?.();
    if (availableParallelism() > 1) for (const { turns } = poller(); poller().turns === turns; ) await follow(10);
    for (const leave of leaveOff) leave();
    const { turns } = poller();
    await follow(100);
    expect(poller().turns).toBe(turns);
    for (const watch of watches) watch.remove();
  }));

test('what is not asked for is not told; writability and the end are', () =>
  withPair(async (a, b) => {
    const seen: number[] = [];
    let told = () => {};
    const watch = poller().add(a, 0, (events) => {
      seen.push(events);
      watch.update(0);
      told();
    });
    const next = () => new Promise<void>((resolve) => (told = resolve));
    write(b, Buffer.from('x'));
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(seen).toEqual([]);
    let waiting = next();
    watch.update(POLLOUT);
    await waiting;
    expect(seen.pop()).toBe(POLLOUT);
    waiting = next();
    watch.update(POLLIN);
    await waiting;
    expect(seen.pop()).toBe(POLLIN);
    watch.remove();
    const [reading, writing] = pipe();
    const closed = ready(reading, POLLIN);
    close(writing);
    const end = await closed;
    expect(end.events & (POLLIN | POLLHUP)).not.toBe(0);
    expect(read(reading, new Uint8Array(1))).toBe(0);
    end.watch.remove();
    close(reading);
  }));

test('watches removed and added by an owner in the same turn', () =>
  withPair(async (a, b) =>
    withPair(async (c, d) => {
      const seen: string[] = [];
      await new Promise<void>((resolve) => {
        const first = poller().add(a, POLLIN, () => {
          seen.push('a');
          first.remove();
          poller()
            .add(a, 0, () => {})
            .remove();
        });
        const second = poller().add(c, POLLIN, () => {
          seen.push('c');
          second.remove();
          resolve();
        });
        write(b, Buffer.from('x'));
        write(d, Buffer.from('x'));
      });
      expect(seen.sort()).toEqual(['a', 'c']);
    }),
  ));

test('a regular file cannot be watched', async () => {
  const { openSync, closeSync } = await import('node:fs');
  const fd = openSync('/etc/hostname', 'r');
  expect(() => poller().add(fd, POLLIN, () => {})).toThrow(/EPERM|not permitted/);
  closeSync(fd);
});

/** Runs a program that uses the built poller through tsx. */
function program(source: string) {
  return spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'inherit'] });
}

test('a watch keeps the process alive, an unreferenced or removed one does not, and idling costs nothing', async () => {
  const child = program(`
    import { poller, POLLIN } from './lib/sys/poller.ts';
    import { pipe, write, read } from './lib/sys/io.ts';
    const [r, w] = pipe();
    const other = pipe();
    poller().add(other[0], POLLIN, () => {}).unref();
    const before = process.cpuUsage();
    const watch = poller().add(r, POLLIN, () => {
      read(r, new Uint8Array(1));
      const used = process.cpuUsage(before);
      console.log(used.user + used.system < 200000 ? 'idle' : JSON.stringify(used), poller().rounds < 100);
      watch.remove();
    });
    setTimeout(() => write(w, new Uint8Array(1)), 1000).unref();
  `);
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  const [code] = await once(child, 'close');
  expect([code, output.trim()]).toEqual([0, 'idle true']);
});

test('an owner that throws is an uncaught exception', async () => {
  const child = program(`
    import { poller, POLLIN } from './lib/sys/poller.ts';
    import { pipe, write } from './lib/sys/io.ts';
    const [r, w] = pipe();
    poller().add(r, POLLIN, () => { throw new Error('mine'); });
    process.on('uncaughtException', (error) => { console.log(error.message); process.exit(3); });
    write(w, new Uint8Array(1));
  `);
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  const [code] = await once(child, 'close');
  expect([code, output.trim()]).toEqual([3, 'mine']);
});

test('worker threads have a poller of their own', async () => {
  const [a, b] = socketpair();
  const worker = new Worker(
    `import('tsx/esm/api').then(({ tsImport }) => Promise.all(['io', 'poller'].map((file) => tsImport('./lib/sys/' + file + '.ts', 'file://${process.cwd()}/')))).then(([io, { poller }]) => {
      const buffer = new Uint8Array(1);
      let left = 100;
      const watch = poller().add(${b}, io.POLLIN, () => {
        if (io.read(${b}, buffer) === 1) io.write(${b}, buffer);
        if (--left === 0) watch.remove();
      });
    });`,
    { eval: true },
  );
  // Listened for from the beginning: it may end in the very turn of the loop in which the last byte comes back.
  const exited = once(worker, 'exit');
  const buffer = new Uint8Array([7]);
  let turns = 0;
  await new Promise<void>((resolve) => {
    const watch = poller().add(a, POLLIN, () => {
      if (read(a, buffer) !== 1) return;
      if (++turns < 100) return void write(a, buffer);
      watch.remove();
      resolve();
    });
    write(a, buffer);
  });
  expect(turns).toBe(100);
  await exited;
  close(a);
  close(b);
});
