import { mkdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, connect, type Fid } from '../../lib/index.js';
import {
  AT_REMOVEDIR,
  L_O_CREAT,
  L_O_DIRECT,
  L_O_DIRECTORY,
  L_O_RDONLY,
  L_O_RDWR,
  type Message,
  S_IFMT,
  S_IFREG,
} from '../../lib/protocol/index.js';
import { MemoryBackend } from '../../lib/server/index.js';
import { connectMemory } from '../fs/memory.js';
import type { Raw, Saboteur } from '../interop/middle.js';
import { fail } from '../interop/sabotage.js';
import { requires } from '../support/requires.js';
import { diod } from '../support/servers/diod.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { atRequest, Between, refusal } from './between.js';

/** A bit of everything, as a careful user writes it: who got a fid ends it. */
async function everything(root: Fid): Promise<void> {
  {
    await using fid = await root.clone();
    await fid.create('file', L_O_CREAT | L_O_RDWR, 0o644, 0);
    await fid.write(Buffer.from('content'), 0);
    await fid.fsync();
  }
  await root.mkdir('d', 0o755, 0);
  await using d = await root.walk(['d']);
  await root.symlink('s', 'file', 0);
  {
    await using file = await root.walk(['file']);
    await d.link('link', file);
    await file.setxattr('user.a', Buffer.from('value'));
    expect(Buffer.from(await file.getxattr('user.a')).toString()).toBe('value');
    expect(await file.listxattr()).toEqual(['user.a']);
    await file.removexattr('user.a');
    await file.setattr({ mode: 0o600, size: 3, mtime: { sec: 5, nsec: 0 } });
  }
  await root.renameat('file', d, 'moved');
  {
    await using deep = await root.walk(['d', 'moved']);
    await deep.open(L_O_RDONLY);
    expect(await deep.read(Buffer.alloc(10), 0)).toBe(3);
  }
  {
    await using list = await d.clone();
    await list.open(L_O_DIRECTORY);
    const names: string[] = [];
    for await (const { name } of list.entries()) names.push(name);
    expect(names.sort()).toEqual(['link', 'moved']);
  }
  {
    await using again = await root.walk(['d', 'link', '..', 'moved']).catch(() => root.walk(['d', 'moved']));
    await again.rename(root, 'back');
  }
  await (await root.walk(['back'])).remove();
  await d.unlinkat('link');
  await root.unlinkat('s');
  await root.unlinkat('d', AT_REMOVEDIR);
}

/** Whatever it answers, the fid is gone after it (clunk(5), remove(5)); a server that keeps it is none. */
function ends({ name }: Message): boolean {
  return name === 'Tclunk' || name === 'Tremove';
}

/** Trenameat and Tunlinkat are not there, as in diod 1.0.24. */
const lacking: Saboteur = {
  request: (request: Message | Raw) =>
    request.name === 'Trenameat' || request.name === 'Tunlinkat'
      ? { answer: { name: 'Rlerror', tag: request.tag, body: { ecode: 95 } } as Message }
      : undefined,
};

describe('fids that nobody leaks', () => {
  test.each([{ old: false }, { old: true }])(
    'whichever request fails (a server without Trenameat and Tunlinkat: $old)',
    async ({ old }) => {
      // How many there are is seen when none fails.
      let total = Number.POSITIVE_INFINITY;
      for (let nth = 0; nth <= total; nth++) {
        await using between = await Between.open();
        const { client } = between;
        const failing = atRequest(nth, (request) => (ends(request) ? undefined : refusal(request)));
        between.saboteur = {
          request: (request) => failing.request?.(request) ?? (old ? lacking.request?.(request) : undefined),
        };
        const outcome = await everything(client.root).then(
          () => 'done',
          (error: NodeJS.ErrnoException) => error.code,
        );
        if (nth === 0) {
          expect(outcome).toBe('done');
          total = failing.count;
          expect(total).toBeGreaterThan(40);
        } else expect(['done', 'EIO']).toContain(outcome);
        expect(client.fidCount, `after request ${nth} failed`).toEqual({ alive: 1, numbers: 1 });
        expect(between.serverFids, `after request ${nth} failed`).toBe(1);
      }
    },
  );

  test('whichever request the connection is lost at, everything ends and nothing hangs', async () => {
    for (let nth = 1; nth <= 70; nth += 3) {
      await using between = await Between.open();
      const { client } = between;
      between.saboteur = atRequest(nth, () => 'close');
      const error = await everything(client.root).then(
        () => undefined,
        (reason: Error) => reason,
      );
      if (error === undefined) break;
      expect(error.constructor.name === 'ConnectionLostError' || error.name === 'SuppressedError', `at request ${nth}: ${error}`).toBe(
        true,
      );
      await expect(client.root.walk([])).rejects.toMatchObject({ name: 'ConnectionLostError' });
      expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
    }
  });
});

describe('a fid of our own server', () => {
  let between: Between;
  let client: Client;
  let root: Fid;

  beforeEach(async () => {
    between = await Between.open();
    ({ client } = between);
    root = client.root;
  });

  afterEach(async () => {
    between.saboteur = undefined;
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
    expect(between.serverFids).toBe(1);
    await between[Symbol.asyncDispose]();
  });

  async function tree(depth: number): Promise<string[]> {
    const names = Array.from({ length: depth }, (_, index) => `d${index}`);
    let at = await root.clone();
    for (const name of names) {
      await at.mkdir(name, 0o755, 0);
      const next = await at.walk([name]);
      await at.clunk();
      at = next;
    }
    await at.clunk();
    return names;
  }

  test('walks more names than one message takes', async () => {
    const names = await tree(40);
    between.requests.length = 0;
    await using fid = await root.walk(names);
    expect(between.requests.filter((name) => name === 'Twalk')).toHaveLength(3);
    expect(fid.path).toBe(`/${names.join('/')}`);
    await fid.mkdir('last', 0o755, 0);
  });

  test('walks names that are too long for one message together', async () => {
    await using small = await Between.open({ msize: 4096 });
    const names = Array.from({ length: 20 }, (_, index) => String.fromCharCode(97 + index).padEnd(128, '\u00e9'));
    const at = [await small.client.root.clone()];
    for (const name of names) {
      await at.at(-1)?.mkdir(name, 0o755, 0);
      at.push((await at.at(-1)?.walk([name])) as Fid);
    }
    expect(Buffer.byteLength(names[0] ?? '')).toBe(255);
    for (const count of [15, 16, 17, 20]) {
      await using fid = await small.client.root.walk(names.slice(0, count));
      expect(fid.qid.path).toBe(at[count]?.qid.path);
    }
  });

  test.each([0, 1, 15, 16, 17, 31, 32, 39])('says ENOENT where name %i is missing, and why', async (index) => {
    const names = await tree(40);
    const wrong = names.toSpliced(index, 1, 'missing');
    await expect(root.walk(wrong)).rejects.toMatchObject({
      code: 'ENOENT',
      syscall: 'Twalk',
    });
  });

  test('says ENOTDIR where a file stands in the way', async () => {
    await using fid = await root.clone();
    await fid.create('file', L_O_CREAT | L_O_RDWR, 0o644, 0);
    await expect(root.walk(['file', 'x', 'y'])).rejects.toMatchObject({ code: 'ENOTDIR' });
  });

  test('a partial walk that leaves newfid at its end is clunked', async () => {
    await tree(2);
    between.saboteur = {
      request: (request) =>
        request.name === 'Twalk' && request.body.wnames.includes('missing')
          ? { pass: { ...request, body: { ...request.body, wnames: request.body.wnames.filter((name) => name !== 'missing') } } }
          : undefined,
    };
    // The server then answers the qids up to there, and has a fid (diod and others do).
    await root.walk(['d0', 'missing']).then(
      (fid) => fid.clunk(),
      (error: Error) => expect(error).toMatchObject({ code: 'ENOENT' }),
    );
  });

  test('an aborted walk whose Rwalk comes late is undone', async () => {
    await tree(1);
    const kept: Message[] = [];
    const { promise: sent, resolve: onSent } = withResolvers();
    between.saboteur = {
      reply(reply, request) {
        if (request.name === 'Twalk') {
          kept.push(reply);
          onSent();
          return 'swallow';
        }
        // The reply to what is flushed comes before Rflush, so it counts (flush(5)).
        return request.name === 'Tflush' ? { send: [...kept.splice(0), reply] } : undefined;
      },
    };
    const controller = new AbortController();
    const walk = root.walk(['d0'], { signal: controller.signal });
    await sent;
    controller.abort();
    await expect(walk).rejects.toMatchObject({ name: 'AbortError' });
    await settled(() => client.fidCount.alive === 1 && between.serverFids === 1);
  });

  test('an aborted walk that was not done frees its number', async () => {
    const { promise: sent, resolve: onSent } = withResolvers();
    between.saboteur = {
      request(request) {
        if (request.name !== 'Twalk') return undefined;
        onSent();
        return 'swallow';
      },
    };
    const controller = new AbortController();
    const walk = root.walk(['d0'], { signal: controller.signal });
    await sent;
    expect(client.fidCount.numbers).toBe(2);
    controller.abort();
    await expect(walk).rejects.toMatchObject({ name: 'AbortError' });
    await settled(() => client.fidCount.numbers === 1);
  });

  test.each(['given up before it was sent', 'flushed'])(
    'an aborted remove that was not done (%s) ends the fid all the same',
    async (when) => {
      await tree(1);
      const fid = await root.walk(['d0']);
      const controller = new AbortController();
      between.saboteur = {
        request(request) {
          if (request.name !== 'Tremove') return undefined;
          queueMicrotask(() => controller.abort());
          return 'swallow';
        },
      };
      if (when !== 'flushed') controller.abort();
      await expect(fid.remove({ signal: controller.signal })).rejects.toMatchObject({ name: 'AbortError' });
      // Its number is nobody else's before that.
      await (await root.clone()).clunk();
      await settled(() => client.fidCount.numbers === 1 && between.serverFids === 1);
      await (await root.walk(['d0'])).clunk();
    },
  );

  test('a clunk that took too long and was not done is asked for again', async () => {
    await using slow = await Between.open({ timeout: 50 });
    const fid = await slow.client.root.clone();
    slow.saboteur = atRequest(1, () => 'swallow');
    await expect(fid.clunk()).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    await settled(() => slow.client.fidCount.numbers === 1 && slow.serverFids === 1);
  });

  test('a walk that is answered with more qids than it has names leaves nothing behind', async () => {
    await tree(2);
    between.saboteur = {
      reply(reply) {
        if (reply.name !== 'Rwalk') return undefined;
        return { pass: { ...reply, body: { wqids: [...reply.body.wqids, ...reply.body.wqids] } } };
      },
    };
    await expect(root.walk(['d0', 'd1'])).rejects.toThrow('4 qids for 2 names');
    await settled(() => client.fidCount.numbers === 1 && between.serverFids === 1);
  });

  test.each(['Trenameat', 'Trename'] as const)('an aborted %s whose reply comes late is known to the fids below', async (name) => {
    await tree(2);
    await using d0 = await root.walk(['d0']);
    await using inner = await root.walk(['d0', 'd1']);
    const controller = new AbortController();
    const kept: Message[] = [];
    between.saboteur = {
      reply(reply, request) {
        if (request.name === name) {
          kept.push(reply);
          controller.abort();
          return 'swallow';
        }
        return request.name === 'Tflush' ? { send: [...kept.splice(0), reply] } : undefined;
      },
    };
    const options = { signal: controller.signal };
    const renamed = name === 'Trename' ? d0.rename(root, 'e0', options) : root.renameat('d0', root, 'e0', options);
    await expect(renamed).rejects.toMatchObject({ name: 'AbortError' });
    await settled(() => inner.path === '/e0/d1');
  });

  test('an aborted xattrwalk whose reply comes late is undone', async () => {
    await using file = await root.clone();
    await file.create('file', L_O_CREAT | L_O_RDWR, 0o644, 0);
    await file.setxattr('user.a', Buffer.from('value'));
    const kept: Message[] = [];
    const { promise: sent, resolve: onSent } = withResolvers();
    between.saboteur = {
      reply(reply, request) {
        if (request.name === 'Txattrwalk') {
          kept.push(reply);
          onSent();
          return 'swallow';
        }
        return request.name === 'Tflush' ? { send: [...kept.splice(0), reply] } : undefined;
      },
    };
    const controller = new AbortController();
    const walk = file.xattrwalk('user.a', { signal: controller.signal });
    await sent;
    controller.abort();
    await expect(walk).rejects.toMatchObject({ name: 'AbortError' });
    await settled(() => client.fidCount.alive === 2 && between.serverFids === 2);
  });

  test('clunk and remove once; afterwards the fid is gone', async () => {
    await tree(1);
    const fid = await root.walk(['d0']);
    await fid.clunk();
    await fid.clunk();
    await expect(fid.remove()).rejects.toMatchObject({ code: 'EBADF' });
    const other = await root.walk(['d0']);
    await other.remove();
    await other.clunk();
    const full = await root.clone();
    await root.mkdir('full', 0o755, 0);
    await full.clunk();
    await using inner = await root.walk(['full']);
    await inner.mkdir('x', 0o755, 0);
    // Even a remove that fails ends the fid (remove(5)).
    await expect((await root.walk(['full'])).remove()).rejects.toMatchObject({ code: 'ENOTEMPTY' });
  });

  test('what fails names the request and the path', async () => {
    await expect(root.mkdir('a/b', 0o755, 0)).rejects.toMatchObject({ syscall: 'Tmkdir', path: '/a/b' });
    await expect(root.unlinkat('missing')).rejects.toMatchObject({ code: 'ENOENT', path: '/missing' });
  });

  test('a rename is known to the fids below it', async () => {
    await tree(3);
    await using deep = await root.walk(['d0', 'd1', 'd2']);
    await using d1 = await root.walk(['d0', 'd1']);
    await root.renameat('d0', root, 'e0');
    expect(deep.path).toBe('/e0/d1/d2');
    await d1.rename(root, 'f');
    expect(deep.path).toBe('/f/d2');
  });

  test('renames of one file whose answers come together are noted in the order of those', async () => {
    {
      await using made = await root.clone();
      await made.create('a', L_O_CREAT | L_O_RDWR, 0o644, 0);
    }
    await using file = await root.walk(['a']);
    await Promise.all([file.rename(root, 'b'), root.renameat('b', root, 'c')]);
    expect(file.path).toBe('/c');
    await Promise.all([root.renameat('c', root, 'd'), file.rename(root, 'e'), root.renameat('e', root, 'a')]);
    expect(file.path).toBe('/a');
  });

  test('asks once whether there is Trenameat and Tunlinkat', async () => {
    between.saboteur = lacking;
    await root.mkdir('d', 0o755, 0);
    for (const name of ['a', 'b']) {
      await using fid = await root.clone();
      await fid.create(name, L_O_CREAT | L_O_RDWR, 0o644, 0);
    }
    between.requests.length = 0;
    await root.renameat('a', root, 'c');
    await root.renameat('c', root, 'a');
    await root.unlinkat('a');
    await root.unlinkat('b');
    await expect(root.unlinkat('d')).rejects.toMatchObject({ code: 'EISDIR' });
    await root.unlinkat('d', AT_REMOVEDIR);
    expect(between.requests.filter((name) => name === 'Trenameat')).toHaveLength(1);
    expect(between.requests.filter((name) => name === 'Tunlinkat')).toHaveLength(1);
  });

  test('another error of Trenameat is not taken for its lack', async () => {
    await expect(root.renameat('missing', root, 'x')).rejects.toMatchObject({ code: 'ENOENT' });
    expect(client.lacking.size).toBe(0);
  });

  test('an xattr whose value cannot be written leaves the fid as it was', async () => {
    await using file = await root.clone();
    await file.create('file', L_O_CREAT | L_O_RDWR, 0o644, 0);
    between.saboteur = fail('Twrite', 'ENOSPC');
    await expect(file.setxattr('user.a', Buffer.from('value'))).rejects.toMatchObject({ code: 'ENOSPC' });
    between.saboteur = undefined;
    await file.write(Buffer.from('x'), 0);
    await expect(file.setxattr('user.a', Buffer.alloc(0))).rejects.toMatchObject({ code: 'EINVAL' });
  });

  test('a mode goes out with the kind of file, size before times', async () => {
    await using file = await root.clone();
    await file.create('file', L_O_CREAT | L_O_RDWR, 0o644, 0);
    const modes: number[] = [];
    between.saboteur = {
      request(request) {
        if (request.name === 'Tsetattr') modes.push(request.body.mode);
        return undefined;
      },
    };
    await file.setattr({ mode: 0o600 });
    expect(modes.map((mode) => mode & S_IFMT)).toEqual([S_IFREG]);
    between.requests.length = 0;
    await file.setattr({ size: 5, mtime: { sec: 77, nsec: 0 } });
    expect(between.requests).toEqual(['Tsetattr', 'Tsetattr']);
    expect(await file.getattr()).toMatchObject({ size: 5, mtime: { sec: 77 } });
  });
});

requires('diod', 'root')('a fid of diod', () => {
  test('the same, without Trenameat and Tunlinkat, with newfid left after a partial walk', async () => {
    const directory = new TemporaryDirectory('client');
    mkdirSync(directory.join('export'));
    await using server = await diod(directory.join('export'));
    await using client = await connect(server.address());
    await everything(client.root);
    expect(client.lacking).toEqual(new Set(['Trenameat', 'Tunlinkat']));
    await client.root.mkdir('d', 0o755, 0);
    for (let round = 0; round < 20; round++) {
      await expect(client.root.walk(['d', 'missing', 'x'])).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(client.root.walk(Array.from({ length: 20 }, () => 'd'))).rejects.toMatchObject({ code: 'ENOENT' });
    }
    await using file = await client.root.clone();
    await file.create('f', L_O_CREAT | L_O_RDWR | L_O_DIRECT, 0o644, 0);
    await file.write(Buffer.from('x'), 0);
    await file.clunk();
    await client.root.unlinkat('f');
    await client.root.unlinkat('d', AT_REMOVEDIR);
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
    await client.close();
    directory.remove();
  });
});

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** What follows from messages already under way: it comes about without anybody doing more. */
async function settled(condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition() && turn < 100_000; turn++) await new Promise(setImmediate);
  expect(condition()).toBe(true);
}

test('nobody attaches as another user than the one that was named', async () => {
  const { client, server } = await connectMemory(new MemoryBackend());
  for (const uid of [2 ** 32, -1, 0.5, Number.NaN])
    await expect(client.attach({ uid })).rejects.toThrow(`uid must be 0 to 4294967295, not ${uid}`);
  const fid = await client.attach({ uid: 2 ** 32 - 2 });
  expect(server.status().fids).toBe(2);
  await fid.clunk();
  await client.close();
  await server.close();
});
