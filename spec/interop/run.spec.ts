import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Client, fileSystem, memoryPair, Session, type Transport } from '../../lib/index.js';
import {
  allChecks,
  formatText,
  groupNames,
  inspect,
  interop,
  type Report,
  type Result,
  selected,
  toJSON,
  toMarkdown,
} from '../../lib/interop/index.js';
import { encodeEntries, VERSION_L, VERSION_U } from '../../lib/protocol/index.js';
import { MemoryBackend, Server } from '../../lib/server/index.js';
import { Plan9Server } from '../support/plan9.js';
import { middle, Sabotaged, type Saboteur } from './middle.js';
import { any, ghost, permit, swallow, twist } from './sabotage.js';

describe('the checks', () => {
  test('are many, each with a name of its own, a rule and its source', () => {
    expect(allChecks.length).toBeGreaterThan(500);
    expect(new Set(allChecks.map(({ id }) => id)).size).toBe(allChecks.length);
    for (const { id, rule, source, dialects, group } of allChecks) {
      expect(id).toMatch(/^[a-z0-9]+\.[a-z0-9-]+$/);
      expect(rule.length, id).toBeGreaterThan(15);
      expect(source.length, id).toBeGreaterThan(5);
      expect(dialects.length, id).toBeGreaterThan(0);
      expect(groupNames).toContain(group);
    }
    for (const group of groupNames) expect(allChecks.filter((check) => check.group === group).length, group).toBeGreaterThan(5);
  });

  test('are selected by dialect, group and name', () => {
    expect(selected(VERSION_U).every(({ dialects }) => dialects.includes(VERSION_U))).toBe(true);
    expect(new Set(selected(VERSION_L, { groups: ['walk', 'flush'] }).map(({ group }) => group))).toEqual(new Set(['walk', 'flush']));
    expect(selected(VERSION_L, { checks: ['walk.partial', 'read.*'] }).map(({ id }) => id)).toEqual(
      expect.arrayContaining(['walk.partial', 'read.all', 'read.end']),
    );
    expect(selected(VERSION_L, { checks: ['walk.partial'] })).toHaveLength(1);
  });
});

describe('a run', () => {
  let world: Sabotaged;

  beforeEach(() => {
    world = new Sabotaged();
  });

  afterEach(() => world.server.close());

  const dial = (): Promise<Transport> => world.dial();

  test('leaves nothing on the server, however its checks end', async () => {
    const fids: number[] = [];
    const watch = { begin: () => fids.push(world.server.status().fids), end: () => {} };
    const report = await interop(dial, { groups: ['walk', 'rename', 'attributes', 'xattr', 'links'], watch });
    expect(report.counts.error).toBe(0);
    expect(Math.max(...fids)).toBe(0);
    // One file more would be seen by the next run's own listing of the root.
    const after = await interop(dial, { checks: ['attach.*'] });
    expect(after.counts).toMatchObject({ error: 0, deviates: 0 });
    await expectEmpty(dial);
  });

  test('may take for ever', async () => {
    for (const timeout of [0, 1e12]) {
      expect((await interop(dial, { checks: ['read.*'], timeout })).counts).toMatchObject({ deviates: 0, error: 0 });
    }
  });

  test('says in one line what it saw, whatever the server put there', async () => {
    world.armed = any(
      twist(
        'Treaddir',
        () => ({ data: encodeEntries([{ ...ghost, name: '\x1b[2J\nx' }], 4096) }),
        ({ offset }) => offset === 0n,
      ),
      twist('Treaddir', () => ({ data: Buffer.alloc(0) })),
    );
    const { results } = await interop(dial, { checks: ['readdir.dots'] });
    expect(results).toMatchObject([{ outcome: 'deviates', saw: 'the entries are \\x1b[2J\\x0ax' }]);
  });

  test('tells each result as it comes', async () => {
    const seen: string[] = [];
    const run = inspect(dial, { groups: ['flush'], onResult: ({ id }, done, total) => seen.push(`${id} ${done}/${total}`) });
    const results: Result[] = [];
    for await (const result of run) results.push(result);
    expect(seen).toEqual(results.map(({ id }, index) => `${id} ${index + 1}/${results.length}`));
    expect(results.every(({ milliseconds }) => milliseconds >= 0)).toBe(true);
  });

  test('says of confinement only that it failed', async () => {
    const watch = {
      begin: () => {
        world.armed = permit('Tlopen');
      },
      end: () => {
        world.armed = undefined;
      },
    };
    const { results } = await interop(dial, { checks: ['confinement.open-directory-link', 'open.symlink'], watch });
    expect(results.map(({ id, outcome, saw }) => [id, outcome, saw])).toEqual([
      ['open.symlink', 'deviates', 'it was done'],
      ['confinement.open-directory-link', 'deviates', undefined],
    ]);
  });

  test('goes on after a server that stops to answer was started anew', async () => {
    let restarts = 0;
    const watch = {
      begin: ({ id }: { id: string }) => {
        if (id === 'read.all') world.armed = swallow('Tread');
      },
      end: () => {},
    };
    const restart = async (): Promise<void> => {
      restarts++;
      world.armed = undefined;
    };
    const { results } = await interop(dial, { checks: ['read.*'], timeout: 500, patience: 500, watch, restart });
    expect(results[0]).toMatchObject({ id: 'read.all', outcome: 'deviates', saw: 'no answer to Tread' });
    expect(restarts).toBeGreaterThan(0);
    expect(results.slice(1).every(({ outcome }) => outcome === 'pass')).toBe(true);
  });

  test('is soon over if nobody starts it anew', async () => {
    const watch = {
      begin: ({ id }: { id: string }) => {
        if (id === 'read.all') world.armed = { request: (request) => (request.name === 'Tversion' ? undefined : 'swallow') };
      },
      end: () => {},
    };
    const started = performance.now();
    const { results } = await interop(dial, { timeout: 500, patience: 500, watch });
    const at = results.findIndex(({ id }) => id === 'read.all');
    expect(results.slice(at + 1).every(({ outcome }) => outcome === 'error')).toBe(true);
    // Three hundred checks are left by then; each would wait half a second.
    expect(performance.now() - started).toBeLessThan(100_000);
  });

  test('ends with a server that answers Tversion and nothing else', { timeout: 20_000 }, async () => {
    world.armed = { request: (request) => (request.name === 'Tversion' ? undefined : 'swallow') };
    const { results } = await interop(dial, { checks: ['walk.clone', 'attach.*'], timeout: 300, patience: 300 });
    expect(results.every(({ outcome }) => outcome === 'error')).toBe(true);
  });

  test('ends with a server that lets only the first connection attach', { timeout: 20_000 }, async () => {
    let connections = 0;
    const mute = swallow('Tattach');
    const one = async (): Promise<Transport> => {
      const [near, far] = memoryPair();
      world.server.serve(far);
      const further = connections++ > 0;
      return middle(near, VERSION_L, () => (further ? mute : undefined));
    };
    const { results } = await interop(one, { checks: ['malformed.type-0'], timeout: 300, patience: 300 });
    expect(results).toMatchObject([{ outcome: 'deviates', saw: 'no answer to Tattach' }]);
  });

  test('of which nothing is wanted any more ends, and leaves nothing on the server', { timeout: 20_000 }, async () => {
    for (const at of ['Tattach', 'Tlopen'] as const) {
      const controller = new AbortController();
      world.armed = {
        request({ name }) {
          if (name !== at) return undefined;
          controller.abort();
          world.armed = undefined;
          return 'swallow';
        },
      };
      await expect(interop(dial, { signal: controller.signal, checks: ['read.*'] })).rejects.toMatchObject({ name: 'AbortError' });
      await expectEmpty(dial);
    }
  });

  test('takes away a directory of its own that it was never told of', { timeout: 20_000 }, async () => {
    const lost: Saboteur = { reply: (_, { name }) => (name === 'Tmkdir' ? 'swallow' : undefined) };
    const watch = {
      begin: () => {
        world.armed = undefined;
      },
      end: () => {},
    };
    world.armed = lost;
    const { results } = await interop(dial, { checks: ['read.all'], timeout: 300, patience: 300, watch });
    expect(results).toMatchObject([{ outcome: 'error', saw: expect.stringContaining('no answer to Tmkdir') }]);
    await expectEmpty(dial);

    const controller = new AbortController();
    world.armed = {
      reply(_, { name }) {
        if (name !== 'Tmkdir') return undefined;
        controller.abort();
        world.armed = undefined;
        return 'swallow';
      },
    };
    await expect(interop(dial, { signal: controller.signal, checks: ['read.all'] })).rejects.toMatchObject({ name: 'AbortError' });
    await expectEmpty(dial);
  });

  test('takes away what is beside something that cannot be removed', async () => {
    const kept = new Set<number>();
    world.armed = {
      request(request) {
        if (request.name === 'raw') return undefined;
        if (request.name === 'Twalk') kept[request.body.wnames.at(-1) === 'd' ? 'add' : 'delete'](request.body.newfid);
        const refused = request.name === 'Tremove' && kept.has(request.body.fid);
        return refused ? { answer: { name: 'Rlerror', tag: request.tag, body: { ecode: 1 } } } : undefined;
      },
    };
    expect((await interop(dial, { checks: ['readdir.qid', 'read.all'] })).counts).toMatchObject({ pass: 2 });
    world.armed = undefined;
    await using client = await attached(dial);
    const fs = fileSystem(client);
    const [scratch = ''] = await fs.readdir('/');
    expect((await fs.readdir(`/${scratch}`, { recursive: true })).map((path) => `${path}`.replace(/^c\d+/, 'c'))).toEqual(['c', 'c/d']);
  });

  test('works far below the root', async () => {
    const directory = Array.from({ length: 40 }, (_, index) => `level-${index}`);
    await using client = await attached(dial);
    const fs = fileSystem(client);
    await fs.mkdir(`/${directory.join('/')}`, { recursive: true });
    const report = await interop(dial, { directory, checks: ['read.*', 'walk.deep', 'malformed.*'] });
    expect(report.counts).toMatchObject({ deviates: 0, unsupported: 0, error: 0 });
    expect(await fs.readdir(`/${directory.join('/')}`)).toEqual([]);
  });

  test('of an export that cannot be changed makes the checks that change nothing', async () => {
    const readonly = new Server({ exports: { '/': { backend: new MemoryBackend(), readonly: true } } });
    const report = await interop(async () => {
      const [near, far] = memoryPair();
      readonly.serve(far);
      return near;
    });
    expect(report.results.find(({ id }) => id === 'read.all')).toMatchObject({ outcome: 'error', saw: expect.stringContaining('EROFS') });
    expect(report.results.filter(({ group }) => group === 'attach').every(({ outcome }) => outcome === 'pass')).toBe(true);
    expect(report.counts.pass).toBeGreaterThan(40);
    await readonly.close();
  });

  test('ends when it is told to', async () => {
    const controller = new AbortController();
    const run = interop(dial, { signal: controller.signal, onResult: (_, done) => done === 5 && controller.abort() });
    await expect(run).rejects.toMatchObject({ name: 'AbortError' });
  });

  test('speaks what the server speaks', async () => {
    const report = await interop(
      async () => {
        const [near, far] = memoryPair();
        new Plan9Server(far, { extended: true });
        return near;
      },
      { groups: ['flush'] },
    );
    expect(report.dialect).toBe(VERSION_U);
    expect(report.counts.error).toBe(0);
  });

  test('rejects where there is nobody, or nobody who speaks 9P', async () => {
    await expect(interop('unix:/nonexistent/ninep.sock')).rejects.toMatchObject({ code: 'ENOENT' });
    const nonsense = async (): Promise<Transport> => {
      const [near, far] = memoryPair();
      far.start({
        target: () => new Uint8Array(1024),
        filled: () => {},
        push: () => void far.send([Buffer.from('220 mail.example.org ESMTP\r\n')]),
        drained: () => {},
        closed: () => {},
      });
      return near;
    };
    await expect(interop(nonsense, { timeout: 1000 })).rejects.toThrow();
  });
});

describe('a report', () => {
  const results: Result[] = [
    { id: 'walk.one', group: 'walk', rule: 'A | rule', source: 'walk(5)', outcome: 'pass', milliseconds: 1 },
    { id: 'walk.two', group: 'walk', rule: 'Another', source: 'walk(5)', outcome: 'deviates', saw: 'something else', milliseconds: 2 },
    {
      id: 'lock.one',
      group: 'locks',
      rule: 'A third',
      source: 'fcntl(2)',
      outcome: 'unsupported',
      saw: 'Tlock answered EOPNOTSUPP',
      milliseconds: 3,
    },
  ];
  const report: Report = {
    server: 'some server 1.0',
    dialect: VERSION_L,
    msize: 8192,
    started: '2020-01-01T00:00:00.000Z',
    counts: { pass: 1, deviates: 1, unsupported: 1, error: 0 },
    results,
  };

  test('as text has what did not pass, and why', () => {
    const text = formatText(report);
    expect(text).toContain('some server 1.0: 9P2000.L, msize 8192');
    expect(text).toContain('walk  1/2');
    expect(text).toContain('✗ walk.two: Another (walk(5))\n      something else');
    expect(text).toContain('1 pass, 1 deviate, 1 unsupported, 0 errors');
    expect(text).not.toContain('walk.one');
  });

  test('as JSON is itself', () => {
    expect(JSON.parse(toJSON(report))).toEqual(report);
    expect(JSON.parse(toJSON([report, report]))).toHaveLength(2);
  });

  test('as a matrix has a column for each server, the same text for the same results', () => {
    const other: Report = { ...report, server: 'another', started: '2021-01-01T00:00:00.000Z', results: results.slice(0, 1) };
    const matrix = toMarkdown([report, other]);
    expect(matrix).toContain('| A | some server 1.0 | 9P2000.L | 8192 | 1 | 1 | 1 | 0 |');
    expect(matrix).toContain('| `walk.one` | A \\| rule | walk(5) | ✓ | ✓ |');
    expect(matrix).toContain('| `walk.two` | Another | walk(5) | ✗ |  |');
    expect(matrix).toContain('- ✗ `walk.two`: something else');
    expect(toMarkdown([{ ...report, started: 'later', results: results.map((one) => ({ ...one, milliseconds: 9 })) }, other])).toBe(matrix);
  });
});

async function attached(dial: () => Promise<Transport>): Promise<Client> {
  const client = new Client(await Session.open(await dial()));
  await client.attach();
  return client;
}

/** The root holds nothing: no scratch directory has stayed. */
async function expectEmpty(dial: () => Promise<Transport>): Promise<void> {
  await using client = new Client(await Session.open(await dial()));
  await using root = await client.attach();
  await using fid = await root.clone();
  await fid.open(0);
  const names: string[] = [];
  for await (const { name } of fid.entries()) names.push(name);
  expect(names).toEqual([]);
}
