import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DESCRIPTOR_XATTR, GETATTR_BASIC, L_O_RDONLY, L_O_RDWR, NOFID, ORDERED_XATTR } from '../../lib/protocol/constants.js';
import { type Body, messages, type TName } from '../../lib/protocol/messages.js';
import { MemoryBackend } from '../../lib/server/memory/index.js';
import { Order } from '../../lib/server/order.js';
import { Request } from '../../lib/server/request.js';
import { Server } from '../../lib/server/server.js';
import { Door, GatedBackend } from '../support/gated.js';
import { Random } from '../support/random.js';
import { RawClient } from '../support/raw.js';

/** What the server promises who asks for it: a request waits for those before it that make the fid it names. */
let doors: Map<string, Door>;
let tree: MemoryBackend;
let server: Server;

beforeEach(() => {
  doors = new Map();
  tree = new MemoryBackend();
  tree.writeFile('f', 'text');
  tree.writeFile('a/b/c', 'deep');
  server = new Server({ exports: { tree: new GatedBackend(tree, (method) => doors.get(method)?.opened) }, limits: { grace: 200 } });
});

afterEach(async () => {
  for (const door of doors.values()) door.open();
  await server.close();
  while (server.buffersLent > 0) await turn();
  expect(tree.counts()).toMatchObject({ held: 0 });
});

function shut(method: string): Door {
  const door = new Door();
  doors.set(method, door);
  return door;
}

/** A client that has asked for order. */
async function ordered(): Promise<RawClient> {
  const c = await RawClient.attached(server);
  expect(await c.call('Txattrwalk', { fid: 0, newfid: 7, name: ORDERED_XATTR })).toMatchObject({ size: 2 });
  await c.call('Tclunk', { fid: 7 });
  return c;
}

async function end(c: RawClient): Promise<void> {
  await c.transport.close();
  await c.closed;
}

const getattr = (fid: number) => ({ fid, requestMask: GETATTR_BASIC });
const walk = (newfid: number, ...wnames: string[]) => ({ fid: 0, newfid, wnames });
const time = { sec: 0, nsec: 0 };
const truncate = (fid: number, size: number) => ({ fid, valid: 8, mode: 0, uid: 0, gid: 0, size, atime: time, mtime: time });

test('who asks for the descriptor of a file waits for that file to be opened, and for no other', async () => {
  const c = await ordered();
  const [slow, open] = [await c.walk('f'), await c.open('a/b/c')];
  const ask = (fid: number) => ({ fid, newfid: NOFID, name: DESCRIPTOR_XATTR });
  const door = shut('open');
  const opening = c.send('Tlopen', { fid: slow, flags: L_O_RDONLY });
  const first = c.send('Txattrwalk', ask(slow));
  expect(await c.outcome('Txattrwalk', ask(open))).toBe('EOPNOTSUPP');
  expect(c.received.some(({ tag }) => tag === first.tag)).toBe(false);
  door.open();
  expect((await opening).name).toBe('Rlopen');
  expect((await first).name).toBe('Rlerror');
  await end(c);
});

describe('requests that name what another is making', () => {
  test('fail where nobody asked for order', async () => {
    const c = await RawClient.attached(server);
    const door = shut('walk');
    const walked = c.call('Twalk', walk(1, 'f'));
    expect(await c.outcome('Tgetattr', getattr(1))).toBe('EBADF');
    door.open();
    await walked;
    await end(c);
  });

  test('wait for it, in the order they came, and others do not', async () => {
    const c = await ordered();
    const door = shut('walk');
    const order: string[] = [];
    const note = <T>(name: string, answer: Promise<T>): Promise<T> => answer.finally(() => order.push(name));
    const walked = note('walk', c.call('Twalk', walk(1, 'f')));
    const seen = note('getattr', c.call('Tgetattr', getattr(1)));
    const opened = note('open', c.call('Tlopen', { fid: 1, flags: L_O_RDONLY }));
    const read = note('read', c.call('Tread', { fid: 1, offset: 0, count: 4 }));
    await note('other', c.call('Tgetattr', getattr(0)));
    door.open();
    expect(Buffer.from((await read).data).toString()).toBe('text');
    await Promise.all([walked, seen, opened]);
    expect(order).toEqual(['other', 'walk', 'getattr', 'open', 'read']);
    await end(c);
  });

  test('see a change of the directory they walk from, and of the file they ask about', async () => {
    const c = await ordered();
    shut('mkdir');
    const made = c.call('Tmkdir', { dfid: 0, name: 'd', mode: 0o750, gid: 0 });
    const walked = c.call('Twalk', walk(1, 'd'));
    const seen = c.call('Tgetattr', getattr(1));
    doors.get('mkdir')?.open();
    await Promise.all([made, walked]);
    expect((await seen).mode & 0o777).toBe(0o750);
    await c.call('Twalk', walk(2, 'f'));
    shut('setattr');
    const changed = c.call('Tsetattr', truncate(2, 2));
    const after = c.call('Tgetattr', getattr(2));
    doors.get('setattr')?.open();
    await changed;
    expect((await after).size).toBe(2);
    await end(c);
  });

  test('fail by themselves where it fails, and payloads survive the wait', async () => {
    const c = await ordered();
    const door = shut('walk');
    const missing = c.call('Twalk', walk(1, 'nothing'));
    const seen = c.call('Tgetattr', getattr(1));
    const walked = c.call('Twalk', walk(2, 'f'));
    const opened = c.call('Tlopen', { fid: 2, flags: L_O_RDWR });
    const written = c.call('Twrite', { fid: 2, offset: 0, data: Buffer.from('TEXT') });
    door.open();
    await expect(missing).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(seen).rejects.toThrow();
    await Promise.all([walked, opened]);
    expect(await written).toEqual({ count: 4 });
    await end(c);
  });

  test('a flush of one that waits ends it and nothing else', async () => {
    const c = await ordered();
    const door = shut('walk');
    const walked = c.call('Twalk', walk(1, 'f'));
    const { tag } = c.send('Tgetattr', getattr(1));
    const second = c.call('Tgetattr', getattr(1));
    await c.call('Tflush', { oldtag: tag });
    door.open();
    await walked;
    expect((await second).size).toBe(4);
    await end(c);
  });

  test('a flush of one in the row leaves the rest of the row behind what is under way', async () => {
    const c = await ordered();
    const door = shut('walk');
    const walked = c.call('Twalk', walk(1, 'f'));
    const { tag } = c.send('Tsetattr', truncate(1, 0));
    const opened = c.call('Tlopen', { fid: 1, flags: L_O_RDONLY });
    const read = c.call('Tread', { fid: 1, offset: 0, count: 4 });
    await c.call('Tflush', { oldtag: tag });
    const seen = c.call('Tgetattr', getattr(1));
    await c.call('Tgetattr', getattr(0));
    door.open();
    await Promise.all([walked, opened]);
    expect(Buffer.from((await read).data).toString()).toBe('text');
    expect((await seen).size).toBe(4);
    await end(c);
  });

  test('a flush of the last in the row leaves what comes then behind what is under way', async () => {
    const c = await ordered();
    const door = shut('walk');
    const walked = c.call('Twalk', walk(1, 'f'));
    for (let times = 0; times < 3; times++) {
      const { tag } = c.send('Tsetattr', truncate(1, times));
      await c.call('Tflush', { oldtag: tag });
    }
    const seen = c.call('Tgetattr', getattr(1));
    await c.call('Tgetattr', getattr(0));
    door.open();
    await walked;
    expect((await seen).size).toBe(4);
    await end(c);
  });

  test('a flush of what makes a fid lets go of those that wait for nothing else', async () => {
    const c = await ordered();
    const door = shut('walk');
    const walked = c.call('Twalk', walk(1, 'a'));
    const { tag } = c.send('Twalk', { fid: 1, newfid: 2, wnames: ['b'] });
    const lost = c.outcome('Tgetattr', getattr(2));
    await c.call('Tflush', { oldtag: tag });
    expect(await lost).toBe('EBADF');
    door.open();
    await walked;
    await end(c);
  });

  test('who comes while the first of two changes is under way waits for the second', async () => {
    const c = await ordered();
    const door = shut('walk');
    const walked = c.call('Twalk', walk(1, 'f'));
    const change = shut('setattr');
    const changed = [c.call('Tsetattr', truncate(1, 3)), c.call('Tsetattr', truncate(1, 2))];
    door.open();
    await walked;
    const seen = c.call('Tgetattr', getattr(1));
    await c.call('Tgetattr', getattr(0));
    change.open();
    await Promise.all(changed);
    expect((await seen).size).toBe(2);
    await end(c);
  });

  test('may be as many as the limits allow', async () => {
    const c = await ordered();
    const door = shut('walk');
    const walked = c.call('Twalk', walk(1, 'f'));
    const tags = Array.from({ length: 8000 }, (_, index) => 1000 + index);
    const answers = tags.map((tag) => c.expect(tag));
    c.bytes(Buffer.concat(tags.map((tag) => c.frame('Tclunk', { fid: 1 }, tag))));
    await c.call('Tgetattr', getattr(0));
    door.open();
    await walked;
    await Promise.all(answers);
    expect(c.received.slice(-tags.length).map(({ tag }) => tag)).toEqual(tags);
    expect(c.received.filter(({ name }) => name === 'Rclunk')).toHaveLength(2);
    await end(c);
  });

  test('leave no more in memory than the limits allow, and are all answered', async () => {
    const most = 256 * 1024;
    const narrow = new Server({
      exports: { tree: new GatedBackend(tree, (method) => doors.get(method)?.opened) },
      limits: { grace: 200, maxPayload: most },
    });
    const c = await RawClient.attached(narrow);
    await c.call('Txattrwalk', { fid: 0, newfid: 7, name: ORDERED_XATTR });
    const door = shut('walk');
    const walked = c.call('Twalk', walk(1, 'f'));
    const opened = c.call('Tlopen', { fid: 1, flags: L_O_RDWR });
    const data = new Uint8Array(32 * 1024).fill(120);
    const written = Array.from({ length: 64 }, (_, index) => c.call('Twrite', { fid: 1, offset: index * data.length, data }));
    const names = ['x', 'y'.repeat(30_000)];
    const refused = Array.from({ length: 64 }, () => c.outcome('Twalk', { fid: 1, newfid: 2, wnames: names }));
    for (let turns = 0; turns < 200; turns++) await turn();
    const [{ pending } = { pending: 0 }] = narrow.connections;
    expect(pending).toBeGreaterThan(most / data.length);
    expect(pending).toBeLessThan(2 * (most / data.length));
    door.open();
    await Promise.all([walked, opened]);
    for (const { count } of await Promise.all(written)) expect(count).toBe(data.length);
    expect(new Set(await Promise.all(refused))).toEqual(new Set(['ENAMETOOLONG']));
    await end(c);
    await narrow.close();
    expect(narrow.buffersLent).toBe(0);
  });

  test('the end of the stream ends those that wait', async () => {
    const c = await ordered();
    shut('walk');
    c.call('Twalk', walk(1, 'f')).catch(() => {});
    c.call('Tgetattr', getattr(1)).catch(() => {});
    await end(c);
  });
});

/** Requests in order of arrival that are not over, and the rule itself: one waits as long as one before it shapes a fid that it names. */
class Rule {
  readonly alive: Array<{ request: Request; names: number[]; shapes: number[]; begun: boolean }> = [];

  blocked(names: number[], before = this.alive.length): boolean {
    return this.alive.slice(0, before).some(({ shapes }) => shapes.some((fid) => names.includes(fid)));
  }

  /** Takes one out; gives those whose turn that makes it. */
  over(gone: Request): Request[] {
    this.alive.splice(
      this.alive.findIndex(({ request }) => request === gone),
      1,
    );
    const ready = this.alive.filter(({ begun, names }, index) => !begun && !this.blocked(names, index));
    for (const next of ready) next.begun = true;
    return ready.map(({ request }) => request);
  }
}

test('whoever ends or is given up, each waits for those before it that shape what it names, and for nobody else', () => {
  const random = new Random();
  const order = new Order();
  order.kept = true;
  const rule = new Rule();
  const begin = (ready: readonly Request[]) => {
    for (const request of ready) order.shapes(request);
  };
  const arrive = <N extends Extract<TName, keyof typeof messages>>(name: N, body: Body<N>, names: number[], shapes: number[]) => {
    const request = new Request(0, messages[name].type, name, body, '');
    const blocked = rule.blocked(names);
    rule.alive.push({ request, names, shapes, begun: !blocked });
    expect(order.blocks(request), `seed ${random.seed}`).toBe(blocked);
    if (blocked) order.wait(request);
    else order.shapes(request);
  };
  const fids = [1, 2, 3, 4, 5];
  const arrivals = [
    (fid: number) => arrive('Tgetattr', getattr(fid), [fid], []),
    (fid: number) => arrive('Tsetattr', truncate(fid, 0), [fid], [fid]),
    (fid: number, newfid: number) => arrive('Twalk', { fid, newfid, wnames: [] }, [fid, newfid], [newfid]),
    (fid: number, dfid: number) => arrive('Trename', { fid, dfid, name: 'x' }, [fid, dfid], [fid, dfid]),
  ];
  for (let step = 0; step < 3000; step++) {
    const waiting = rule.alive.filter(({ begun }) => !begun);
    const begun = rule.alive.filter((one) => one.begun);
    if (rule.alive.length < 3 || (rule.alive.length < 25 && !random.oneIn(3))) {
      random.pick(arrivals)(random.pick(fids), random.pick(fids));
    } else {
      const flush = waiting.length > 0 && random.oneIn(2);
      const { request } = random.pick(flush ? waiting : begun);
      const ready = flush ? order.forget(request) : order.ended(request);
      const expected = rule.over(request);
      expect(ready.length, `seed ${random.seed}`).toBe(expected.length);
      expect(
        ready.every((one, index) => one === expected[index]),
        `seed ${random.seed}`,
      ).toBe(true);
      begin(ready);
    }
    expect(order.size).toBe(rule.alive.filter((one) => !one.begun).length);
  }
});

const shapes: [TName, Record<string, number>, number[]][] = [
  ['Tattach', { fid: 1, afid: 0xffffffff }, [1]],
  ['Twalk', { fid: 1, newfid: 2 }, [2]],
  ['Twalk', { fid: 1, newfid: 1 }, [1]],
  ['Txattrwalk', { fid: 1, newfid: 2 }, [2]],
  ['Tlcreate', { fid: 1 }, [1]],
  // It changes what its directory holds, as Tlcreate on a fid of its own does, and nobody waits for that.
  ['Tcreateat', { dfid: 1, newfid: 2 }, [2]],
  ['Tmkdir', { dfid: 1 }, [1]],
  ['Tsymlink', { dfid: 1 }, [1]],
  ['Tmknod', { dfid: 1 }, [1]],
  ['Tlink', { dfid: 1, fid: 2 }, [1, 2]],
  ['Tunlinkat', { dirfd: 1 }, [1]],
  ['Trenameat', { olddirfid: 1, newdirfid: 2 }, [1, 2]],
  ['Trename', { fid: 1, dfid: 2 }, [1, 2]],
  ...(['Tlopen', 'Tsetattr', 'Tremove', 'Txattrcreate', 'Tclunk'] as const).map((name): [TName, { fid: number }, number[]] => [
    name,
    { fid: 1 },
    [1],
  ]),
  ...(['Tread', 'Twrite', 'Tgetattr', 'Treaddir', 'Treadlink', 'Tlock', 'Tfsync'] as const).map(
    (name): [TName, { fid: number }, number[]] => [name, { fid: 1 }, []],
  ),
];

test.each(shapes)('%s %o has those wait that name %j, as long as the session lasts', (name, body, waited) => {
  const order = new Order();
  const made = (kind: TName, fields: object): Request => new Request(1, messages[kind as keyof typeof messages].type, kind, fields, 'one');
  const blocked = () => [1, 2, 3].filter((fid) => order.blocks(made('Tgetattr', { fid })));
  order.shapes(made(name, body));
  expect(blocked()).toEqual([]);
  order.kept = true;
  const request = made(name, body);
  order.shapes(request);
  expect(blocked()).toEqual(waited);
  expect(order.ended(request)).toEqual([]);
  expect(blocked()).toEqual([]);
  order.shapes(request);
  order.drop();
  order.shapes(request);
  expect(blocked()).toEqual([]);
});
