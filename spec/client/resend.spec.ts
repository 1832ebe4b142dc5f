import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Client } from '../../lib/client/client.js';
import { createAt } from '../../lib/client/creating.js';
import type { Fid } from '../../lib/client/fid.js';
import type { RecoveryEvent } from '../../lib/client/recovery.js';
import { Ordered } from '../../lib/fuse/ordered.js';
import {
  AT_REMOVEDIR,
  L_O_APPEND,
  L_O_CREAT,
  L_O_DIRECTORY,
  L_O_EXCL,
  L_O_RDWR,
  L_O_TRUNC,
  S_IFREG,
  VERSION_L,
  XATTR_CREATE,
} from '../../lib/protocol/constants.js';
import type { TName } from '../../lib/protocol/messages.js';
import { decodeEntriesPlus, READDIR_PLUS } from '../../lib/protocol/plus.js';
import { MemoryBackend, Server } from '../../lib/server/index.js';
import { Session } from '../../lib/session/index.js';
import { memoryPair } from '../../lib/transport/memory.js';
import { middle, type Saboteur } from '../interop/middle.js';
import { withoutPauses } from './pauses.js';

let server: Server;
/** Loses connections; `rival` has one of its own. */
let client: Client;
let rival: Client;
let saboteur: Saboteur | undefined;
/** What happens while the connection is lost. */
let meanwhile: () => Promise<unknown>;
let events: RecoveryEvent[];
let told: (event: RecoveryEvent) => void;

const dial = (between: boolean): Promise<Session> => {
  const [near, far] = memoryPair();
  server.serve(far);
  return Session.open(between ? middle(near, VERSION_L, () => saboteur) : near);
};

beforeEach(async () => {
  server = new Server({ exports: { '/': new MemoryBackend() } });
  saboteur = undefined;
  meanwhile = () => Promise.resolve();
  events = [];
  told = () => undefined;
  client = new Client(await dial(true), {
    redial: async () => {
      await meanwhile();
      meanwhile = () => Promise.resolve();
      return dial(true);
    },
    retry: 60,
    onEvent: (event) => {
      events.push(event);
      told(event);
    },
  });
  rival = new Client(await dial(false));
  await Promise.all([client.attach(), rival.attach()]);
});

afterEach(async () => {
  saboteur = undefined;
  client.destroy();
  rival.destroy();
  await server.close();
});

/** The server does the next request of that kind, but the connection is lost with its answer; or before the server has it. */
function lose(what: 'reply' | 'request', kind: TName, nth = 1): void {
  let left = nth;
  const deed = ({ name }: { name: string }) => {
    if (name !== kind || --left > 0) return undefined;
    saboteur = undefined;
    return 'close' as const;
  };
  saboteur = what === 'request' ? { request: deed } : { reply: (_, request) => deed(request) };
}

const cut = (): void => client.session.destroy(new Error('cut'));
const recovered = (times = 1) => expect.poll(() => client.recovery?.recoveries).toBe(times);

async function put(by: Client, name: string, content = ''): Promise<void> {
  const path = name.split('/');
  const fid = await by.root.walk(path.slice(0, -1));
  await fid.create(path.at(-1) ?? '', L_O_RDWR | L_O_CREAT, 0o644, 0);
  if (content !== '') await fid.write(Buffer.from(content), 0);
  await fid.clunk();
}

async function content(name: string): Promise<string> {
  const fid = await rival.root.walk(name.split('/'));
  await fid.open(0);
  const bytes = Buffer.alloc(1000);
  const count = await fid.read(bytes, 0);
  await fid.clunk();
  return bytes.toString('utf8', 0, count);
}

async function names(): Promise<string[]> {
  const fid = await rival.root.clone();
  await fid.open(L_O_DIRECTORY);
  const found: string[] = [];
  for await (const { name } of fid.entries()) found.push(name);
  await fid.clunk();
  return found.sort();
}

/** No number of a fid may be free here and taken on the server: each is tried. */
async function noneLeft(): Promise<void> {
  const fids = await Promise.all(Array.from({ length: 8 }, () => client.root.clone()));
  for (const fid of fids) await fid.clunk();
  expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
}

describe('a change that the server did before the connection was lost', () => {
  it('has happened once', () =>
    withoutPauses(async (onEvent) => {
      told = onEvent;
      for (const name of ['a', 'b', 'c', 'd', 'e']) await put(rival, name, name);
      const [a, e] = [await client.root.walk(['a']), await client.root.walk(['e'])];
      const steps: [TName, () => Promise<unknown>][] = [
        ['Tmkdir', () => client.root.mkdir('directory', 0o755, 0)],
        ['Tsymlink', () => client.root.symlink('symlink', 'to/there', 0)],
        ['Tlink', () => client.root.link('link', a)],
        ['Tmknod', () => client.root.mknod('fifo', 0o010644, 0, 0, 0)],
        ['Tunlinkat', () => client.root.unlinkat('b')],
        ['Tunlinkat', () => client.root.unlinkat('directory', AT_REMOVEDIR)],
        ['Trenameat', () => client.root.renameat('c', client.root, 'C')],
        ['Trename', () => a.rename(client.root, 'A')],
        ['Trename', () => a.rename(client.root, 'd')],
        ['Tremove', () => e.remove()],
      ];
      for (const [index, [kind, step]] of steps.entries()) {
        lose('reply', kind);
        await step();
        expect(client.recovery?.recoveries).toBe(index + 1);
      }
      expect(await names()).toEqual(['C', 'd', 'fifo', 'link', 'symlink']);
      expect(await content('d')).toBe('a');
      expect(client.recovery?.casualties).toBe(0);
      await a.clunk();
      await noneLeft();
    }));
});

it('a request that connections are lost over leaves nothing with its signal', () =>
  withoutPauses(async (onEvent) => {
    told = onEvent;
    const { signal } = new AbortController();
    let left = 3;
    saboteur = { reply: (_, { name }) => (name === 'Tmkdir' && left-- > 0 ? 'close' : undefined) };
    await client.root.mkdir('d', 0o755, 0, { signal });
    expect(client.recovery?.recoveries).toBe(3);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  }));

describe('a change that somebody else made before it could be sent again', () => {
  it('is not taken for this client’s own', () =>
    withoutPauses(async (onEvent) => {
      told = onEvent;
      await put(rival, 'mine', 'mine');
      const mine = await client.root.walk(['mine']);
      const file = () => put(rival, 'x', 'theirs');
      const full = async () => {
        await rival.root.mkdir('x', 0o755, 0);
        await (await rival.root.walk(['x'])).mkdir('y', 0o755, 0);
      };
      const mkdir = () => client.root.mkdir('x', 0o755, 0);
      const symlink = () => client.root.symlink('x', 'target', 0);
      const mknod = () => client.root.mknod('x', 0o010644, 0, 0, 0);
      const create = async () => {
        await using fid = await client.root.clone();
        await fid.create('x', L_O_RDWR | L_O_CREAT | L_O_EXCL, 0o644, 0);
      };
      const steps: [TName, () => Promise<unknown>, () => Promise<unknown>][] = [
        ['Tmkdir', mkdir, file],
        ['Tmkdir', mkdir, full],
        ['Tsymlink', symlink, file],
        ['Tsymlink', symlink, () => rival.root.symlink('x', 'elsewhere', 0)],
        ['Tmknod', mknod, file],
        ['Tlink', () => client.root.link('x', mine), file],
        ['Tlcreate', create, file],
        ['Tlcreate', create, () => rival.root.mkdir('x', 0o755, 0)],
        ['Tlcreate', create, () => rival.root.mknod('x', 0o010644, 0, 0, 0)],
      ];
      for (const [kind, step, other] of steps) {
        lose('request', kind);
        meanwhile = other;
        await expect(step(), kind).rejects.toMatchObject({ code: 'EEXIST' });
        await rival.root.walk(['x', 'y']).then(
          (fid) => fid.remove(),
          () => undefined,
        );
        await (await rival.root.walk(['x'])).remove();
      }
      await mine.clunk();
      await noneLeft();
    }));

  it('is ENOENT where what was to be renamed is neither here nor there', async () => {
    for (const [kind, other] of [
      ['Trenameat', undefined],
      ['Trename', undefined],
      ['Trename', () => put(rival, 'y')],
    ] as const) {
      await put(rival, 'x');
      const x = await client.root.walk(['x']);
      lose('request', kind);
      meanwhile = async () => {
        await rival.root.unlinkat('x');
        await other?.();
      };
      const renamed = kind === 'Trename' ? x.rename(client.root, 'y') : client.root.renameat('x', client.root, 'y');
      await expect(renamed, kind).rejects.toMatchObject({ code: expect.stringMatching(/^(ENOENT|ESTALE)$/) });
      await x.clunk();
    }
  });

  it('removes nothing else that has got the name', async () => {
    await put(rival, 'x', 'old');
    const x = await client.root.walk(['x']);
    lose('request', 'Tremove');
    meanwhile = async () => {
      await rival.root.renameat('x', rival.root, 'kept');
      await put(rival, 'x', 'new');
    };
    await x.remove();
    expect([await content('x'), await content('kept')]).toEqual(['new', 'old']);
    await noneLeft();
  });

  it('is appended behind what others appended, were it as long or longer', async () => {
    await put(rival, 'log', 'begin,');
    const log = await client.root.walk(['log']);
    await log.open(L_O_RDWR | L_O_APPEND);
    const theirs = await rival.root.walk(['log']);
    await theirs.open(L_O_RDWR | L_O_APPEND);
    lose('request', 'Twrite');
    meanwhile = () => theirs.write(Buffer.from('theirs,longer,'), 0);
    expect(await log.write(Buffer.from('mine,'), 0)).toBe(5);
    expect(await content('log')).toBe('begin,theirs,longer,mine,');
    lose('reply', 'Twrite');
    meanwhile = () => theirs.write(Buffer.from('theirs,'), 0);
    expect(await log.write(Buffer.from('again,'), 0)).toBe(6);
    expect(await content('log')).toBe('begin,theirs,longer,mine,again,theirs,');
    await log.clunk();
    await noneLeft();
  });

  it('is appended though the same line was there before', async () => {
    await put(rival, 'log', 'same,');
    const log = await client.root.walk(['log']);
    await log.open(L_O_RDWR | L_O_APPEND);
    for (const lines of [2, 3]) {
      lose('request', 'Twrite');
      expect(await log.write(Buffer.from('same,'), 0)).toBe(5);
      expect(await content('log')).toBe('same,'.repeat(lines));
    }
    await log.clunk();
  });
});

describe('what is appended', () => {
  async function appending(): Promise<[Fid, Fid]> {
    await put(rival, 'log', 'same,');
    const [log, theirs] = [await client.root.walk(['log']), await rival.root.walk(['log'])];
    for (const fid of [log, theirs]) await fid.open(L_O_RDWR | L_O_APPEND);
    return [log, theirs];
  }

  it('is not taken for a line that was there before, where others have appended meanwhile', async () => {
    const [log, theirs] = await appending();
    lose('request', 'Twrite');
    meanwhile = () => theirs.write(Buffer.from('other,'), 0);
    await log.write(Buffer.from('same,'), 0);
    expect(await content('log')).toBe('same,other,same,');
  });

  it.each(['request', 'reply'] as const)('to a file that nobody may read is appended once, where the %s was lost', async (what) => {
    const [log] = await appending();
    lose(what, 'Twrite');
    meanwhile = async () => {
      saboteur = {
        request({ name, tag, ...rest }) {
          const reads = name === 'Tlopen' && 'body' in rest && 'flags' in rest.body && rest.body.flags === 0;
          return reads ? { answer: { name: 'Rlerror', tag, body: { ecode: 13 } } } : undefined;
        },
      };
    };
    await log.write(Buffer.from('mine,'), 0);
    expect(await content('log')).toBe('same,mine,');
    saboteur = undefined;
    await log.clunk();
    await noneLeft();
  });

  /** Of two appends in flight the server does the one, and its answer is lost. */
  function loseOneOfTwo(done: 'first' | 'second'): void {
    let asked = 0;
    saboteur = {
      request: ({ name }) => (name === 'Twrite' && (++asked === 1) !== (done === 'first') ? 'swallow' : undefined),
      reply: (_, { name }) => {
        if (name !== 'Twrite') return undefined;
        saboteur = undefined;
        return 'close';
      },
    };
  }

  it.each([
    ['one fid', 'first'],
    ['one fid', 'second'],
    ['two fids', 'first'],
    ['two fids', 'second'],
  ] as const)('twice at once through %s is there twice, where the server did only the %s', async (through, done) => {
    const [log] = await appending();
    const other = through === 'one fid' ? log : await client.root.walk(['log']);
    if (other !== log) await other.open(L_O_RDWR | L_O_APPEND);
    loseOneOfTwo(done);
    expect(await Promise.all([log.write(Buffer.from('mine,'), 0), other.write(Buffer.from('mine,'), 0)])).toEqual([5, 5]);
    expect(await content('log')).toBe('same,mine,mine,');
  });

  it('is not taken for a part of another that was under way with it', async () => {
    const [log] = await appending();
    loseOneOfTwo('first');
    await Promise.all([log.write(Buffer.from('it is mine,'), 0), log.write(Buffer.from('mine,'), 0)]);
    expect(await content('log')).toBe('same,it is mine,mine,');
  });

  it('is not taken for one of those before it that were under way together', async () => {
    const [log] = await appending();
    await Promise.all([log.write(Buffer.from('mine,'), 0), log.write(Buffer.from('mine,'), 0)]);
    lose('request', 'Twrite');
    await log.write(Buffer.from('mine,'), 0);
    expect(await content('log')).toBe('same,mine,mine,mine,');
  });

  it.each(['one fid', 'two fids'])('is not taken for one that was answered while it was under way, through %s', async (through) => {
    const [log] = await appending();
    const other = through === 'one fid' ? log : await client.root.walk(['log']);
    if (other !== log) await other.open(L_O_RDWR | L_O_APPEND);
    let asked = 0;
    let first: Promise<unknown> | undefined;
    saboteur = {
      request: ({ name }) => {
        if (name !== 'Twrite' || ++asked === 1) return undefined;
        saboteur = undefined;
        void first?.then(cut);
        return 'swallow';
      },
    };
    first = log.write(Buffer.from('mine,'), 0);
    await Promise.all([first, other.write(Buffer.from('mine,'), 0)]);
    expect(await content('log')).toBe('same,mine,mine,');
  });

  it('to a file that has been cut off since is never there twice: what cannot be known is EIO', async () => {
    const [log, theirs] = await appending();
    await log.write(Buffer.from('long enough,'), 0);
    const cutOff = () => theirs.setattr({ size: 0 });
    await cutOff();
    lose('reply', 'Twrite');
    await expect(log.write(Buffer.from('mine,'), 0)).rejects.toMatchObject({ code: 'EIO' });
    expect(await content('log')).toBe('mine,');
    // Where the end was is asked for anew.
    lose('reply', 'Twrite');
    expect(await log.write(Buffer.from('more,'), 0)).toBe(5);
    await cutOff();
    lose('request', 'Twrite');
    expect(await log.write(Buffer.from('last,'), 0)).toBe(5);
    expect(await content('log')).toBe('last,');
  });

  it('to a file that was cut off through the same fid is found', async () => {
    const [log] = await appending();
    await log.write(Buffer.from('long enough,'), 0);
    await log.setattr({ size: 0 });
    lose('reply', 'Twrite');
    expect(await log.write(Buffer.from('mine,'), 0)).toBe(5);
    expect(await content('log')).toBe('mine,');
  });

  it('is found behind much that others have appended since', async () => {
    const [log, theirs] = await appending();
    const much = 600 * 1024;
    lose('reply', 'Twrite');
    meanwhile = () => theirs.write(Buffer.alloc(much, 'theirs'), 0);
    expect(await log.write(Buffer.alloc(much, 'mine'), 0)).toBe(much);
    expect((await theirs.getattr()).size).toBe(5 + 2 * much);
  });
});

describe('a file that is open when the connection is lost', () => {
  /** The flags of each Tlopen from now on, refused with `refusal` for the first time. */
  function opens(refusal?: number): number[] {
    const flags: number[] = [];
    saboteur = {
      request: (message) => {
        if (message.name !== 'Tlopen') return undefined;
        flags.push(message.body.flags);
        if (refusal === undefined || flags.length > 1) return undefined;
        return { answer: { name: 'Rlerror', tag: message.tag, body: { ecode: refusal } } };
      },
    };
    return flags;
  }

  it('is neither cut off nor created again', async () => {
    const made = await client.root.clone();
    await made.create('made', L_O_RDWR | L_O_CREAT | L_O_EXCL | L_O_TRUNC, 0o644, 0);
    await made.write(Buffer.from('made'), 0);
    await put(rival, 'there', 'old');
    const there = await client.root.walk(['there']);
    await there.open(L_O_RDWR | L_O_TRUNC);
    await there.write(Buffer.from('there'), 0);
    const flags = opens();
    cut();
    await recovered();
    expect([await content('made'), await content('there')]).toEqual(['made', 'there']);
    expect(flags).toEqual([L_O_RDWR, L_O_RDWR]);
    for (const fid of [made, there]) await fid.clunk();
    await noneLeft();
  });

  it('is opened whatever its mode, which is the same afterwards', async () => {
    const fid = await client.root.clone();
    await fid.create('f', L_O_RDWR | L_O_CREAT, 0o400, 0);
    opens(13);
    cut();
    await recovered();
    expect(await fid.write(Buffer.from('still'), 0)).toBe(5);
    expect((await fid.getattr()).mode & 0o7777).toBe(0o400);
    await fid.clunk();
  });

  it.each([
    ['no', 'Tsetattr', 0],
    ['request', 'Tsetattr', 1],
    ['reply', 'Tsetattr', 1],
    ['request', 'Tlopen', 1],
    ['reply', 'Tlopen', 1],
    ['request', 'Tsetattr', 2],
    ['reply', 'Tsetattr', 2],
  ] as const)(
    'has its mode again where it cannot be opened with that, and the connection is lost with the %s of %s %i',
    async (what, kind, nth) => {
      const one = await client.root.clone();
      await one.create('f', L_O_RDWR | L_O_CREAT, 0o600, 0);
      const other = await client.root.walk(['f']);
      await other.open(L_O_RDWR);
      await other.setattr({ mode: 0o400 });
      const { mode } = await one.getattr();
      let writable = false;
      let left: number = nth;
      const isLast = ({ name }: { name: string }) => name === kind && left > 0 && --left === 0;
      saboteur = {
        request(request) {
          if (request.name === 'Tlopen' && !writable) return { answer: { name: 'Rlerror', tag: request.tag, body: { ecode: 13 } } };
          if (what === 'request' && isLast(request)) return 'close';
          if (request.name === 'Tsetattr') writable = (request.body.mode & 0o200) !== 0;
          return undefined;
        },
        reply: (_, request) => (what === 'reply' && isLast(request) ? 'close' : undefined),
      };
      cut();
      await recovered();
      expect(left).toBe(0);
      for (const fid of [one, other]) expect(await fid.write(Buffer.from('still'), 0)).toBe(5);
      expect((await one.getattr()).mode).toBe(mode);
      for (const fid of [one, other]) await fid.clunk();
      await noneLeft();
    },
  );

  it('leaves no fid behind where it cannot be opened', async () => {
    await put(rival, 'f');
    const fid = await client.root.walk(['f']);
    await fid.open(L_O_RDWR);
    opens(5);
    cut();
    await recovered();
    await expect(fid.getattr()).rejects.toMatchObject({ code: 'ESTALE' });
    expect(events).toContainEqual({ type: 'casualty', path: '/f', code: 'ESTALE' });
    await fid.clunk();
    await noneLeft();
  });

  it('is told of as lost where it was removed by this client, for whoever has it open', async () => {
    await put(rival, 'f');
    const fid = await client.root.walk(['f']);
    await fid.open(L_O_RDWR);
    lose('reply', 'Tunlinkat');
    await client.root.unlinkat('f');
    await expect(fid.getattr()).rejects.toMatchObject({ code: 'ESTALE' });
    expect(events.filter(({ type }) => type === 'casualty')).toEqual([{ type: 'casualty', path: '/f', code: 'ESTALE' }]);
    await fid.clunk();
    await noneLeft();
  });

  it.each(['request', 'reply'] as const)('is found by the one name or the other when the %s of its renaming is lost', async (what) => {
    await put(rival, 'old', 'content');
    await rival.root.mkdir('to', 0o755, 0);
    const fid = await client.root.walk(['old']);
    await fid.open(L_O_RDWR);
    const to = await client.root.walk(['to']);
    lose(what, 'Trenameat');
    await client.root.renameat('old', to, 'new');
    await fid.write(Buffer.from('CON'), 0);
    expect([fid.path, client.recovery?.casualties]).toEqual(['/to/new', 0]);
    for (const each of [fid, to]) await each.clunk();
    await noneLeft();
  });

  it('is lost for good where it was not found once, also if it comes back', async () => {
    await put(rival, 'f');
    const fid = await client.root.walk(['f']);
    meanwhile = () => rival.root.renameat('f', rival.root, 'elsewhere');
    cut();
    await recovered();
    await expect(fid.getattr()).rejects.toMatchObject({ code: 'ESTALE' });
    meanwhile = () => rival.root.renameat('elsewhere', rival.root, 'f');
    cut();
    await recovered(2);
    await expect(fid.getattr()).rejects.toMatchObject({ code: 'ESTALE' });
    expect(client.recovery?.casualties).toBe(1);
    await fid.clunk();
    await noneLeft();
  });

  it('is not what is a directory now, though it has its number', async () => {
    await put(rival, 'f');
    const fid = await client.root.walk(['f']);
    saboteur = {
      reply(reply) {
        if (reply.name !== 'Rwalk') return undefined;
        const { body } = reply;
        return { pass: { ...reply, body: { wqids: body.wqids.map((qid) => ({ ...qid, type: 0x80 })) } } };
      },
    };
    cut();
    await recovered();
    saboteur = undefined;
    await expect(fid.getattr()).rejects.toMatchObject({ code: 'ESTALE' });
    await fid.clunk();
    await noneLeft();
  });
});

describe('requests of which one needs what another makes', () => {
  it('are sent again in that order, and what was to end ends', async () => {
    await put(rival, 'f', 'content');
    const ordered = new Ordered(client);
    expect(await ordered.ask()).toBe(true);
    lose('request', 'Twalk');
    const { fid, done } = ordered.walk(client.root, 'f', undefined);
    const looked = fid.getattr();
    const ended = fid.clunk();
    await done;
    expect((await looked).size).toBe(7);
    await ended;
    await noneLeft();
  });

  it('wait no longer than that, however many connections are lost over it', () =>
    withoutPauses(async (onEvent) => {
      told = onEvent;
      await put(rival, 'f', 'content');
      const ordered = new Ordered(client);
      expect(await ordered.ask()).toBe(true);
      let left = 3;
      saboteur = {
        request: (request) => (request.name === 'Twalk' && request.body.wnames[0] === 'f' && left-- > 0 ? 'close' : undefined),
      };
      const { fid, done } = ordered.walk(client.root, 'f', undefined);
      const looked = fid.getattr();
      const ended = fid.clunk();
      await done;
      expect((await looked).size).toBe(7);
      await ended;
      expect(client.recovery?.recoveries).toBe(3);
      await noneLeft();
    }));

  it('ask for attributes with entries only a server that has agreed to that', async () => {
    await put(rival, 'f', 'content');
    const root = await client.root.clone();
    await root.open(L_O_DIRECTORY);
    const down = new Promise((resolve) => client.session.onClosed(resolve));
    cut();
    await down;
    const { data } = await client.request('Treaddir', { fid: root.number, offset: 0n, count: READDIR_PLUS + 4096 });
    const told = decodeEntriesPlus(data).map(({ entry, attributes }) => [entry.name, attributes]);
    expect(told).toContainEqual(['f', undefined]);
    await root.clunk();
  });
});

describe('a file that is made by one message', () => {
  const EXCLUSIVE = L_O_RDWR | L_O_CREAT | L_O_EXCL;
  let directory: Fid;

  beforeEach(async () => {
    await rival.root.mkdir('d', 0o755, 0);
    directory = await client.root.walk(['d']);
    expect(await new Ordered(client).ask()).toBe(true);
  });

  const make = (flags: number, signal?: AbortSignal) => createAt(directory, 'new', flags, 0o640, 7, true, { signal });

  async function nothingLeft(...fids: Fid[]): Promise<void> {
    for (const fid of [...fids, directory]) await fid.clunk();
    await noneLeft();
    // The rival's, and this client's root.
    await expect.poll(() => server.status().fids).toBe(2);
  }

  /** Resolves when this client knows that the connection is lost. */
  async function lost(): Promise<void> {
    const down = new Promise((resolve) => client.session.onClosed(resolve));
    cut();
    await down;
    expect(client.recovery?.down).toBe(true);
  }

  /** The requests that reach the server from now on. */
  function seen(): string[] {
    const requests: string[] = [];
    const before = saboteur;
    saboteur = {
      request(request) {
        requests.push(request.name);
        return undefined;
      },
    };
    expect(before).toBeUndefined();
    return requests;
  }

  it.each([
    ['reply', L_O_RDWR | L_O_CREAT],
    ['reply', L_O_RDWR | L_O_CREAT | L_O_TRUNC],
    ['reply', EXCLUSIVE],
    ['request', L_O_RDWR | L_O_CREAT],
    ['request', EXCLUSIVE],
  ] as const)('is made once where the %s was lost (flags %d), by a server that may not know that message', async (what, flags) => {
    lose(what, 'Tcreateat');
    let requests: string[] = [];
    meanwhile = async () => {
      requests = seen();
    };
    const { fid, attributes, directory: around, descriptor } = await make(flags);
    expect(requests).toContain('Tlcreate');
    expect(requests).not.toContain('Tcreateat');
    saboteur = undefined;
    expect([fid.path, fid.opened?.flags, descriptor]).toEqual(['/d/new', flags, undefined]);
    expect(fid.qid).toEqual(attributes.qid);
    expect(attributes).toMatchObject({ mode: S_IFREG | 0o640, gid: 7, size: 0 });
    expect(around).toEqual(await directory.getattr());
    await fid.write(Buffer.from('written'), 0);
    expect(await content('d/new')).toBe('written');
    // It is made again as every other after the next loss.
    cut();
    await fid.write(Buffer.from('W'), 0);
    expect(await content('d/new')).toBe('Written');
    expect([directory.opened, directory.isDirectory, directory.path]).toEqual([undefined, true, '/d']);
    expect(client.recovery?.casualties).toBe(0);
    await nothingLeft(fid);
  });

  it.each(['request', 'reply'] as const)('and nobody may read is open all the same, where the %s was lost', async (what) => {
    lose(what, 'Tcreateat');
    const { fid, attributes } = await createAt(directory, 'new', EXCLUSIVE, 0, 7, false);
    expect(attributes.mode).toBe(S_IFREG);
    expect((await fid.getattr()).mode).toBe(S_IFREG);
    await fid.write(Buffer.from('mine'), 0);
    await nothingLeft(fid);
  });

  it('is the one that is there, unless it must not be, where somebody else has made it meanwhile', async () => {
    for (const [flags, expected] of [
      [L_O_RDWR | L_O_CREAT, 'theirs'],
      [EXCLUSIVE, 'EEXIST'],
    ] as const) {
      lose('request', 'Tcreateat');
      meanwhile = () => put(rival, 'd/new', 'theirs');
      const found = await make(flags).catch((error: unknown) => error);
      if (found instanceof Error) expect(found).toMatchObject({ code: expected, path: '/d/new' });
      else {
        expect(found).toMatchObject({ attributes: { size: 6 } });
        await (found as Awaited<ReturnType<typeof make>>).fid.clunk();
      }
      expect(await content('d/new')).toBe('theirs');
      await (await rival.root.walk(['d', 'new'])).remove();
    }
    await nothingLeft();
  });

  it('is not made in a directory that has gone meanwhile', async () => {
    lose('request', 'Tcreateat');
    meanwhile = () => rival.root.unlinkat('d', AT_REMOVEDIR);
    await expect(make(EXCLUSIVE)).rejects.toMatchObject({ code: 'ESTALE', path: '/d/new' });
    await nothingLeft();
  });

  it('may be asked for while the connection is away', async () => {
    for (const flags of [L_O_RDWR | L_O_CREAT, EXCLUSIVE]) {
      await lost();
      const { fid, attributes, directory: around } = await make(flags);
      expect([attributes.mode, around?.nlink]).toEqual([S_IFREG | 0o640, 2]);
      await fid.write(Buffer.from('written'), 0);
      expect(await content('d/new')).toBe('written');
      await fid.remove();
      expect(await new Ordered(client).ask()).toBe(true);
    }
    await nothingLeft();
  });

  it('is not taken for an empty one of somebody else, where it was never asked for before', async () => {
    meanwhile = () => put(rival, 'd/new');
    await lost();
    await expect(make(EXCLUSIVE)).rejects.toMatchObject({ code: 'EEXIST' });
    await nothingLeft();
  });

  it('is its own, where the answer to its first being asked for was lost after that', async () => {
    await lost();
    lose('reply', 'Tlcreate');
    const { fid } = await make(EXCLUSIVE);
    expect(client.recovery?.recoveries).toBe(2);
    await nothingLeft(fid);
  });

  it.each(['Twalk', 'Tlcreate', 'Tgetattr'] as const)('is made once however often connections are lost over it, at %s', (kind) =>
    withoutPauses(async (onEvent) => {
      told = onEvent;
      lose('reply', 'Tcreateat');
      let left = 3;
      meanwhile = async () => {
        saboteur = { reply: (_, { name }) => (name === kind && client.recovery?.down === false && left-- > 0 ? 'close' : undefined) };
      };
      const { fid, attributes } = await make(EXCLUSIVE);
      expect([client.recovery?.recoveries, attributes.size]).toEqual([4, 0]);
      await nothingLeft(fid);
    }),
  );

  it('is there though nobody can tell what its directory is like', async () => {
    lose('reply', 'Tcreateat');
    meanwhile = async () => {
      saboteur = {
        request({ name, tag, ...rest }) {
          const asks = name === 'Tgetattr' && 'body' in rest && 'fid' in rest.body && rest.body.fid === directory.number;
          return asks ? { answer: { name: 'Rlerror', tag, body: { ecode: 5 } } } : undefined;
        },
      };
    };
    const { fid, directory: around } = await make(EXCLUSIVE);
    expect(around).toBeUndefined();
    await nothingLeft(fid);
  });

  it('is clunked where it was given up before it came', async () => {
    const given = new AbortController();
    lose('reply', 'Tcreateat');
    meanwhile = async () => {
      saboteur = {
        reply(_, { name }) {
          if (name === 'Tlcreate') given.abort();
          return undefined;
        },
      };
    };
    await expect(make(EXCLUSIVE, given.signal)).rejects.toMatchObject({ name: 'AbortError' });
    await recovered();
    await expect.poll(() => client.fidCount).toEqual({ alive: 2, numbers: 2 });
    expect(await content('d/new')).toBe('');
    await nothingLeft();
  });

  it('leaves nothing where it was given up while the connection was away', async () => {
    const given = new AbortController();
    await lost();
    const making = make(EXCLUSIVE, given.signal);
    given.abort();
    await expect(making).rejects.toMatchObject({ name: 'AbortError' });
    await recovered();
    await expect(rival.root.walk(['d', 'new'])).rejects.toMatchObject({ code: 'ENOENT' });
    await nothingLeft();
  });

  it('is found again after a loss, though what had its name before was removed while it was asked for', async () => {
    await put(rival, 'd/new', 'old');
    const old = await client.root.walk(['d', 'new']);
    let making: ReturnType<typeof make> | undefined;
    saboteur = {
      reply(_, { name }) {
        // Removed, but this client has not heard of it.
        if (name === 'Tunlinkat') making = make(EXCLUSIVE);
        return undefined;
      },
    };
    await directory.unlinkat('new');
    saboteur = undefined;
    const fid = (await making)?.fid;
    if (fid === undefined) throw new Error('not asked for');
    cut();
    await fid.write(Buffer.from('new'), 0);
    expect(await content('d/new')).toBe('new');
    await nothingLeft(fid, old);
  });
});

describe('an extended attribute', () => {
  it('is set and read as a whole, whatever of it was lost', () =>
    withoutPauses(async (onEvent) => {
      told = onEvent;
      await put(rival, 'f');
      const fid = await client.root.walk(['f']);
      let times = 0;
      const value = () => Buffer.from(`value ${times}`);
      for (const what of ['request', 'reply'] as const) {
        for (const kind of ['Txattrcreate', 'Twrite', 'Tclunk'] as const) {
          lose(what, kind);
          times++;
          await fid.setxattr('user.a', value());
          expect(client.recovery?.recoveries).toBe(times);
          const theirs = await rival.root.walk(['f']);
          expect(Buffer.from(await theirs.getxattr('user.a')), `${what} of ${kind}`).toEqual(value());
          await theirs.clunk();
        }
      }
      const last = value();
      for (const what of ['request', 'reply'] as const) {
        for (const kind of ['Txattrwalk', 'Tread'] as const) {
          lose(what, kind);
          times++;
          expect(Buffer.from(await fid.getxattr('user.a')), `${what} of ${kind}`).toEqual(last);
          expect(client.recovery?.recoveries).toBe(times);
        }
      }
      await fid.clunk();
      await noneLeft();
    }));

  it('is made and removed once, and what was there before is in the way', () =>
    withoutPauses(async (onEvent) => {
      told = onEvent;
      await put(rival, 'f');
      const [fid, theirs] = [await client.root.walk(['f']), await rival.root.walk(['f'])];
      const value = Buffer.from('mine');
      for (const what of ['request', 'reply'] as const) {
        lose(what, 'Tclunk');
        await fid.setxattr('user.a', value, XATTR_CREATE);
        expect(Buffer.from(await theirs.getxattr('user.a'))).toEqual(value);
        await expect(fid.setxattr('user.a', value, XATTR_CREATE)).rejects.toMatchObject({ code: 'EEXIST' });
        lose(what, 'Tclunk');
        await fid.removexattr('user.a');
        await expect(fid.removexattr('user.a')).rejects.toMatchObject({ code: 'ENODATA' });
      }
      expect(client.recovery?.recoveries).toBe(4);
      lose('request', 'Tclunk');
      meanwhile = () => theirs.setxattr('user.a', Buffer.from('theirs'));
      await expect(fid.setxattr('user.a', value, XATTR_CREATE)).rejects.toMatchObject({ code: 'EEXIST' });
      expect(Buffer.from(await theirs.getxattr('user.a')).toString()).toBe('theirs');
      await fid.clunk();
      await noneLeft();
    }));
});
