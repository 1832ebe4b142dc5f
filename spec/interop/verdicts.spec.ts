/** What a check says is about its own rule and nothing else: not about what another check has left, nor about a server that is right in a way of its own. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { memoryPair, type Transport } from '../../lib/index.js';
import { type InteropOptions, interop, type Report } from '../../lib/interop/index.js';
import { errnoNumber, type Message, NOFID, SETATTR_ATIME, SETATTR_ATIME_SET, SETATTR_GID, type TName } from '../../lib/protocol/index.js';
import { Plan9Server } from '../support/plan9.js';
import { Sabotaged, type Saboteur } from './middle.js';
import { alter, any, code, hangUp, pretend, respond } from './sabotage.js';

let world: Sabotaged;

beforeEach(() => {
  world = new Sabotaged();
});

afterEach(() => world.server.close());

const dial = (): Promise<Transport> => world.dial();

/** The checks that do not pass, and what they say. */
async function failing(options: InteropOptions): Promise<Record<string, string>> {
  return failures(await interop(dial, { patience: 500, timeout: 5_000, ...options }));
}

function failures({ results }: Report): Record<string, string> {
  return Object.fromEntries(results.filter(({ outcome }) => outcome !== 'pass').map(({ id, outcome }) => [id, outcome]));
}

/** Each check has a saboteur of its own, which is at work while it runs. */
function arming(make: () => Saboteur): InteropOptions['watch'] {
  return {
    begin: () => {
      world.armed = make();
    },
    end: () => {
      world.armed = undefined;
    },
  };
}

describe('a check has nothing to do with what another has left:', () => {
  test('a NOFID that was attached to', async () => {
    const taken = (fid: number): number => (fid === NOFID ? 0xfffffff0 : fid);
    world.armed = any(
      alter('Tattach', ({ fid }) => ({ fid: taken(fid) })),
      alter('Twalk', ({ newfid }) => ({ newfid: taken(newfid) })),
      alter('Tclunk', ({ fid }) => ({ fid: taken(fid) })),
    );
    expect(await failing({ checks: ['attach.nofid', 'walk.nofid'] })).toEqual({ 'attach.nofid': 'deviates', 'walk.nofid': 'deviates' });
  });

  test('a fid that cannot be clunked', async () => {
    const keeping: Saboteur = {
      request: ({ name, tag }) => (name === 'Tclunk' ? { answer: { name: 'Rlerror', tag, body: { ecode: 5 } } as Message } : undefined),
    };
    // Not even when the check is over.
    const watch: InteropOptions['watch'] = {
      begin: ({ id }) => {
        world.armed = id === 'clunk.frees' ? keeping : undefined;
      },
      end: () => {},
    };
    expect(await failing({ groups: ['remove'], checks: ['clunk.*'], watch })).toEqual({ 'clunk.frees': 'error' });
  });

  test('an answer that comes late', async () => {
    const kept: Message[] = [];
    const watch: InteropOptions['watch'] = {
      begin: ({ id }) => {
        world.armed = {
          reply(answer, { name }) {
            if (id === 'flush.twice' && name === 'Twalk') {
              kept.push(answer);
              return 'swallow';
            }
            return id === 'flush.many' && kept.length > 0 ? { send: [answer, ...kept.splice(0)] } : undefined;
          },
        };
      },
      end: () => {
        world.armed = undefined;
      },
    };
    expect(await failing({ checks: ['flush.twice', 'flush.many'], watch })).toEqual({});
    expect(kept).toEqual([]);
  });
});

describe('a server that is right in a way of its own is not blamed:', () => {
  test('nothing can be walked from an open fid (walk(5))', async () => {
    world.armed = closedToWalks();
    const found = await failing({ groups: ['walk', 'open/create', 'read/write', 'locks', 'flush', 'limits', 'concurrency'] });
    expect(found).toEqual({ 'walk.clone-open': 'deviates', 'walk.clone-unopened': 'unsupported' });
  });

  test('a walk that would lead out is refused as a whole', async () => {
    world.armed = {
      request(request) {
        if (request.name !== 'Twalk') return undefined;
        const { wnames } = (request as Message & { name: 'Twalk' }).body;
        const leads = wnames.length > 1 && ['..', 'link', 'abs'].includes(wnames[0] ?? '');
        return leads ? { answer: refusal(request.tag, 'ENOENT') } : undefined;
      },
    };
    expect(await failing({ groups: ['confinement'] })).toEqual({});
  });

  test('the errno of a refusal is its own affair', async () => {
    world.armed = any(code('Tread', 'EOPNOTSUPP'), code('Tauth', 'ENODEV'));
    expect(await failing({ checks: ['attach.no-auth', 'read.directory', 'read.unopened'] })).toEqual({});
  });

  test('more than a message holds is not given, however little that is', async () => {
    const tooMuch = ({ count }: { count: number }): boolean => count > 4096 - 24;
    const refuse = (name: 'Tread' | 'Treaddir'): Saboteur => ({
      request: (request) => {
        const asked = request as Message;
        return asked.name === name && tooMuch(asked.body) ? { answer: refusal(request.tag, 'EINVAL') } : undefined;
      },
    });
    world.armed = any(refuse('Tread'), refuse('Treaddir'));
    expect(await failing({ msize: 4096, groups: ['version', 'open/create', 'read/write', 'readdir', 'xattr', 'concurrency'] })).toEqual({});
  });

  test('an error of 9P2000 is a text, and any will do', async () => {
    let root: Plan9Server['root'] | undefined;
    const report = await interop(
      async () => {
        const [near, far] = memoryPair();
        root = new Plan9Server(far, { extended: false, root }).root;
        return near;
      },
      { checks: ['walk.missing', 'walk.from-file', 'open.directory-write', 'create.over-directory', 'mkdir.in-file', 'remove.full'] },
    );
    expect(report).toMatchObject({ dialect: '9P2000', counts: { pass: 6, deviates: 0, error: 0 } });
  });
});

describe('a server that is wrong does not get by:', () => {
  test('locks that never wait, granted a little late', async () => {
    const late = (): Saboteur => {
      let locks = 0;
      const kept: Message[] = [];
      return {
        request({ name, tag }) {
          if (name !== 'Tlock') return undefined;
          const answer = { name: 'Rlock', tag, body: { status: 0 } } as Message;
          if (++locks === 1) return { answer };
          kept.push(answer);
          return 'swallow';
        },
        reply: (answer, { name }) => (name === 'Tgetattr' ? { send: [answer, ...kept.splice(0)] } : undefined),
      };
    };
    const found = await failing({
      checks: ['lock.waits', 'flush.waiting', 'concurrency.waiting-lock'],
      watch: arming(late),
    });
    expect(found).toEqual({ 'lock.waits': 'deviates', 'flush.waiting': 'unsupported', 'concurrency.waiting-lock': 'unsupported' });
  });

  test('bytes behind a request are overlooked, and messages longer than msize taken', async () => {
    world.armed = {
      request(request) {
        const { name, tag } = request;
        if (name === 'raw') return { pass: { name: 'Tread', tag, body: { fid: 2, offset: 0, count: 4 } } as Message };
        const { body } = request as Message & { name: 'Twrite' };
        return name === 'Twrite' && body.data.length > 65536 - 23
          ? { pass: { name, tag, body: { ...body, data: body.data.subarray(0, 100) } } as Message }
          : undefined;
      },
    };
    const found = await failing({ checks: ['malformed.cut-in-number', 'malformed.trailing', 'malformed.over-msize'] });
    expect(found).toEqual({ 'malformed.cut-in-number': 'deviates', 'malformed.trailing': 'deviates', 'malformed.over-msize': 'deviates' });
  });

  test('fields of a Tsetattr that are not valid are taken', async () => {
    for (const one of [SETATTR_GID, SETATTR_ATIME | SETATTR_ATIME_SET]) {
      world.armed = alter('Tsetattr', ({ valid }) => ({ valid: valid | one }));
      expect(await failing({ checks: ['setattr.only-valid'] })).toEqual({ 'setattr.only-valid': 'deviates' });
    }
  });

  test('it breaks the connection off over a value that is longer than was announced', async () => {
    world.armed = hangUp('Twrite', ({ data }) => data.length === 6);
    expect(await failing({ checks: ['xattr.over'] })).toEqual({ 'xattr.over': 'deviates' });
  });

  const overdone: readonly string[] = [
    'read.over',
    'read.far-empty',
    'readdir.tiny',
    'readdir.over',
    'limits.frame-write',
    'limits.count-0xffffffff',
  ];

  test('an answer of another type is no refusal', async () => {
    const mistaken = (...names: TName[]): Saboteur => ({
      request: ({ name, tag }) => (names.some((one) => one === name) ? { answer: { name: 'Rclunk', tag, body: {} } } : undefined),
    });
    const watch = {
      begin: ({ id }: { id: string }) => {
        if (id.startsWith('version.')) world.armed = id === 'version.first' ? mistaken('Tattach') : mistaken('Tversion');
        else world.armed = id === 'limits.frame-write' ? mistaken('Twrite') : mistaken('Tread', 'Treaddir');
      },
      end: () => {
        world.armed = undefined;
      },
    };
    const checks = [...overdone, 'version.msize-tiny', 'version.empty', 'version.first'];
    expect(await failing({ checks, watch })).toEqual(Object.fromEntries(checks.map((id) => [id, 'deviates'])));
  });

  test('nor is the end of the connection, for what is a request like any other', async () => {
    const watch = arming(() =>
      any(
        hangUp('Tread'),
        hangUp('Treaddir'),
        hangUp('Twrite', ({ data }) => data.length > 65536 - 24),
      ),
    );
    expect(await failing({ checks: overdone, watch })).toEqual(Object.fromEntries(overdone.map((id) => [id, 'deviates'])));
  });

  test('a lock that can never be had is said to be held by another', async () => {
    world.armed = {
      reply: ({ name, tag }, request) => {
        const refused = name === 'Rlerror' || name === 'Rlock';
        return refused && request.name === 'Tlock' ? { pass: { name: 'Rlock', tag, body: { status: 1 } } } : undefined;
      },
    };
    const checks = ['lock.type', 'lock.unopened'];
    expect(await failing({ checks })).toEqual({ 'lock.type': 'deviates', 'lock.unopened': 'deviates' });
  });

  test('an ACL that is cut short', async () => {
    const short = (): Saboteur =>
      any(
        pretend('Txattrcreate'),
        pretend('Twrite'),
        pretend('Tclunk'),
        respond('Txattrwalk', () => ({ size: 12 })),
        respond('Tread', ({ offset }) => ({ data: Buffer.alloc(offset === 0 ? 12 : 0) })),
      );
    expect(await failing({ checks: ['acl.chmod', 'acl.inherited-access'], watch: arming(short) })).toEqual({
      'acl.chmod': 'deviates',
      'acl.inherited-access': 'deviates',
    });
  });
});

function refusal(tag: number, name: string): Message {
  return { name: 'Rlerror', tag, body: { ecode: errnoNumber(name) ?? 5 } };
}

/** walk(5): the fid of a walk must not have been opened. */
function closedToWalks(): Saboteur {
  const open = new Set<number>();
  return {
    request(request) {
      if (request.name !== 'Twalk') return undefined;
      const { fid } = (request as Message & { name: 'Twalk' }).body;
      return open.has(fid) ? { answer: refusal(request.tag, 'EBADF') } : undefined;
    },
    reply(answer, request) {
      if (answer.name === 'Rlerror' && request.name !== 'Tremove') return undefined;
      const { fid } = 'body' in request && 'fid' in request.body ? request.body : { fid: -1 };
      if (request.name === 'Tlopen' || request.name === 'Tlcreate') open.add(fid);
      if (request.name === 'Tclunk' || request.name === 'Tremove') open.delete(fid);
      return undefined;
    },
  };
}
