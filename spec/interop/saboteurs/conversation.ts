import { DT_SOCK, L_O_APPEND, L_O_EXCL, LOCK_FLAGS_BLOCK, type Message } from '../../../lib/protocol/index.js';
import type { Saboteur } from '../middle.js';
import {
  after,
  alter,
  any,
  entries,
  fail,
  from,
  garble,
  ghost,
  hangUp,
  hide,
  permit,
  pretend,
  respond,
  swallow,
  twist,
  welcome,
} from '../sabotage.js';
import { family } from './names.js';

/** Rversion says whatever was asked for. */
const parrot = (): Saboteur => respond('Tversion', (asked) => asked);

const version: Record<string, Saboteur> = {
  'version.echo': twist('Tversion', () => ({ version: '9P2000.u' })),
  'version.tag': { reply: (answer, { name }) => (name === 'Tversion' ? { pass: { ...answer, tag: 5 } as Message } : undefined) },
  'version.msize': twist('Tversion', () => ({ msize: 1 << 20 })),
  'version.msize-4096': twist('Tversion', () => ({ msize: 2048 })),
  'version.msize-tiny': respond('Tversion', ({ version }) => ({ msize: 8192, version })),
  'version.msize-huge': twist('Tversion', () => ({ msize: 0xffffffff })),
  // The server works with a larger one than it has told.
  'version.msize-kept': any(
    alter('Tversion', () => ({ msize: 65536 })),
    twist('Tversion', (_, { msize }) => ({ msize })),
  ),
  ...family('version.', ['unknown', 'later', 'suffix', 'prefix', 'case', 'empty'], parrot),
  'version.after-unknown': hangUp('Tversion', ({ version }) => version === 'XYZZY'),
  'version.again': from(2, fail('Tversion')),
  'version.clunks-fids': pretend('Tversion'),
  'version.frees-fids': pretend('Tversion'),
  'version.first': pretend('Tattach'),
};

const attach: Record<string, Saboteur> = {
  'attach.directory': twist('Tattach', ({ qid }) => ({ qid: { ...qid, type: 0 } })),
  'attach.same-root': from(
    2,
    twist('Tattach', ({ qid }) => ({ qid: { ...qid, path: qid.path + 1n } })),
  ),
  'attach.qid': twist('Tattach', ({ qid }) => ({ qid: { ...qid, path: qid.path + 1n } })),
  'attach.fid-in-use': permit('Tattach'),
  'attach.fid-in-use-kept': fail('Twalk'),
  ...family('attach.', ['unknown-aname', 'nofid', 'unknown-afid', 'afid-is-no-auth'], () => permit('Tattach')),
  'attach.no-auth': permit('Tauth'),
  'attach.number-again': from(2, fail('Tattach')),
  'attach.independent': fail('Twalk'),
  'attach.any-number': fail('Tattach', 'EINVAL', ({ fid }) => fid >= 0x80000000),
  'attach.no-uname': fail('Tattach', 'EPERM', ({ uname }) => uname === ''),
};

/** The server goes as far as it can and leaves newfid there. */
const halfway = (): Saboteur =>
  alter(
    'Twalk',
    ({ wnames }) => ({ wnames: wnames.slice(0, 1) }),
    ({ wnames }) => wnames.includes('missing'),
  );
const otherPath = (name: string): Saboteur =>
  twist(
    'Twalk',
    ({ wqids }) => ({ wqids: wqids.map((qid) => ({ ...qid, path: qid.path + 1n })) }),
    ({ wnames }) => wnames.at(-1) === name,
  );
const further = (first: string): Saboteur =>
  twist(
    'Twalk',
    ({ wqids }, { wnames }) => ({ wqids: wnames.map(() => wqids[0] ?? { type: 0, version: 0, path: 1n }) }),
    ({ wnames }) => wnames[0] === first,
  );

const walk: Record<string, Saboteur> = {
  'walk.clone': twist(
    'Twalk',
    () => ({ wqids: [{ type: 0, version: 0, path: 1n }] }),
    ({ wnames }) => wnames.length === 0,
  ),
  'walk.clone-same-file': garble(),
  'walk.one': otherPath('f'),
  'walk.several': twist(
    'Twalk',
    ({ wqids }) => ({ wqids: wqids.toReversed() }),
    ({ wnames }) => wnames.length === 3,
  ),
  'walk.partial': fail('Twalk', 'ENOENT', ({ wnames }) => wnames.includes('missing')),
  'walk.partial-newfid': halfway(),
  'walk.partial-again': halfway(),
  // What Tauth's errno is for one server, EIO is for another's walk.
  'walk.missing': any(
    alter(
      'Twalk',
      () => ({ wnames: [] }),
      ({ wnames }) => wnames[0] === 'missing',
    ),
    fail('Twalk', 'EIO', ({ wnames }) => wnames[0] === 'missing'),
  ),
  'walk.missing-newfid': any(
    alter(
      'Twalk',
      () => ({ wnames: [] }),
      ({ wnames }) => wnames[0] === 'missing',
    ),
    fail('Twalk', 'ENOENT', ({ wnames }) => wnames[0] === 'missing'),
  ),
  'walk.missing-kept': fail('Twalk', 'EIO', ({ wnames }) => wnames[0] === 'f'),
  'walk.16': fail('Twalk', 'EINVAL', ({ wnames }) => wnames.length === 16),
  'walk.17': welcome,
  ...family('walk.', ['unknown-fid', 'newfid-in-use', 'nofid', 'same-fid-open', 'from-file'], () => permit('Twalk')),
  'walk.newfid-in-use-kept': garble(),
  'walk.same-fid': pretend('Twalk', ({ fid, newfid }) => fid === newfid),
  'walk.same-fid-missing': fail('Twalk', 'EIO', ({ wnames }) => wnames[0] === 'f'),
  'walk.same-fid-partial': halfway(),
  ...family('walk.', ['dotdot', 'dotdot-root'], () => otherPath('..')),
  'walk.dotdot-between': twist(
    'Twalk',
    ({ wqids }) => ({ wqids: wqids.toReversed() }),
    ({ wnames }) => wnames.length === 3,
  ),
  'walk.through-file': further('f'),
  'walk.symlink': twist(
    'Twalk',
    ({ wqids }) => ({ wqids: wqids.map((qid) => ({ ...qid, type: 0 })) }),
    ({ wnames }) => wnames[0] === 's',
  ),
  'walk.stable': from(2, otherPath('f')),
  'walk.distinct': twist('Twalk', ({ wqids }) => ({ wqids: wqids.map((qid) => ({ ...qid, path: 7n })) })),
  'walk.clone-open': after('Tlopen', fail('Twalk')),
  'walk.clone-unopened': permit('Tread'),
  'walk.clone-outlives': garble(),
  'walk.deep': from(30, fail('Tmkdir', 'ENAMETOOLONG')),
  ...family('walk.name-', ['empty', 'slash', 'nul', 'long'], () => permit('Twalk')),
};

/** A reply comes after the Rflush for it. */
function belated(): Saboteur {
  const kept: Message[] = [];
  return {
    reply(answer, { name }) {
      if (name === 'Twalk') {
        kept.push(answer);
        return 'swallow';
      }
      return name === 'Tflush' ? { send: [answer, ...kept.splice(0)] } : undefined;
    },
  };
}

const flush: Record<string, Saboteur> = {
  ...family('flush.', ['idle', 'answered', 'self', 'version-tag', 'waiting'], () => swallow('Tflush')),
  'flush.order': belated(),
  'flush.tag-again': after('Tflush', swallow('Twalk')),
  'flush.twice': from(2, swallow('Tflush')),
  'flush.many': swallow('Tflush', ({ oldtag }) => oldtag === 0x7f20),
  'flush.of-flush': swallow('Tflush', ({ oldtag }) => oldtag !== 0x7ff0),
  'flush.done-or-not': pretend('Twalk'),
};

const limits: Record<string, Saboteur> = {
  'limits.1000-fids': from(900, fail('Twalk', 'EMFILE')),
  'limits.300-open': from(200, fail('Tlopen', 'EMFILE')),
  'limits.100-in-flight': from(60, fail('Twalk', 'EAGAIN')),
  'limits.tags': { reply: (answer, { name }) => (name === 'Twalk' && answer.tag === 0x8000 ? 'swallow' : undefined) },
  'limits.frame-write': garble(),
  'limits.small-msize': garble(),
  'limits.many-names': hide(/123$/),
  'limits.long-path': from(10, fail('Tmkdir')),
  'limits.lock-offset': twist('Tgetlock', () => ({ type: 1 })),
  'limits.count-0xffffffff': garble(),
  'limits.connections': garble(),
};

/** The server goes on after bytes that no frame can begin with. */
const held: Saboteur = { request: ({ name }) => (name === 'raw' || name === 'Tclunk' ? 'swallow' : undefined), holds: true };

const malformed: Record<string, Saboteur> = {
  ...family(
    'malformed.',
    [
      ...['empty-body', 'cut-in-number', 'trailing', 'string-over', 'names-over', 'names-65535', 'data-over', 'data-2g', 'uname-over'],
      ...['type-0', 'type-255', 'type-106', 'reply-clunk', 'reply-walk', 'reply-read', 'reply-error', 'cut-setattr'],
    ],
    () => welcome,
  ),
  ...family('malformed.', ['size-0', 'size-6', 'size-huge', 'size-over-msize'], () => held),
  'malformed.over-msize': pretend('Twrite'),
  'malformed.bytes': swallow('Twalk'),
  'malformed.together': swallow('Twalk', ({ newfid }) => newfid === 71),
  'malformed.half-then-gone': from(2, fail('Tattach')),
};

const concurrency: Record<string, Saboteur> = {
  'concurrency.reads': garble(({ offset }) => offset === 7 * 512),
  'concurrency.writes': alter(
    'Twrite',
    () => ({ offset: 0 }),
    ({ offset }) => offset === 9 * 512,
  ),
  'concurrency.reads-and-writes': garble(({ offset }) => offset === 512),
  'concurrency.walks': alter(
    'Twalk',
    () => ({ wnames: ['f4'] }),
    ({ wnames }) => wnames[0] === 'f3',
  ),
  'concurrency.creates': pretend('Tlcreate', ({ name }) => name === 'f07'),
  'concurrency.exclusive': alter('Tlcreate', ({ flags }) => ({ flags: flags & ~L_O_EXCL })),
  'concurrency.appends': alter('Tlopen', ({ flags }) => ({ flags: flags & ~L_O_APPEND })),
  'concurrency.removes': permit('Tremove'),
  'concurrency.two-connections': garble(),
  'concurrency.waiting-lock': after('Tlock', swallow('Tread')),
  'concurrency.list-and-change': hide('stays-05'),
  'concurrency.rename-and-walk': from(
    10,
    fail('Twalk', 'ENOENT', ({ wnames }) => wnames[0] === 'f'),
  ),
  'concurrency.clunk-while-reading': from(8, swallow('Tread')),
};

/** A lock is granted, or not, whatever the server thinks. */
const status = (value: number, when: Parameters<typeof twist<'Tlock'>>[2] = () => true): Saboteur =>
  twist('Tlock', () => ({ status: value }), when);
const others = { when: ({ procId }: { procId: number }) => procId === 2 };

const locks: Record<string, Saboteur> = {
  'lock.granted': status(1),
  ...family('lock.', ['conflict', 'read-write', 'overlap', 'to-end', 'split'], () => status(0)),
  'lock.read-read': status(1, others.when),
  'lock.unlock': from(2, status(1, others.when)),
  'lock.ranges': status(1, ({ start }) => start === 10),
  'lock.own': from(2, status(1)),
  'lock.downgrade': from(2, status(1, others.when)),
  'lock.clunk': from(2, status(1, others.when)),
  'lock.connection': status(1, ({ procId }) => procId === 1),
  'lock.waits': swallow('Tlock', ({ flags }) => flags === LOCK_FLAGS_BLOCK),
  ...family('lock.', ['type', 'unopened', 'unknown-fid'], () => permit('Tlock')),
  'getlock.free': twist('Tgetlock', () => ({ type: 1 })),
  'getlock.conflict': twist('Tgetlock', ({ procId }) => ({ procId: procId + 1 })),
  'getlock.type': twist('Tgetlock', () => ({ type: 1 })),
  'getlock.takes-nothing': status(1),
  'getlock.unlock': fail('Tgetlock', 'EINVAL'),
  'getlock.unknown-fid': permit('Tgetlock'),
};

/** After a change through a link, the attributes of what it points to have changed. */
const through = (): Saboteur =>
  after(
    'Tsetattr',
    twist('Tgetattr', ({ mode }) => ({ mode: mode ^ 1 })),
  );

/** A walk up from a link leads to what is beside it. */
function wayOut(): Saboteur {
  let outside = { type: 0x80, version: 0, path: 0n };
  return {
    reply(answer, request) {
      if (answer.name !== 'Rwalk' || request.name !== 'Twalk') return undefined;
      const { wnames } = request.body;
      if (wnames.length === 1 && wnames[0] === 'outside') outside = answer.body.wqids[0] ?? outside;
      return wnames[0] === 'link' ? { pass: { ...answer, body: { wqids: [outside, outside, outside] } } } : undefined;
    },
  };
}

const confinement: Record<string, Saboteur> = {
  ...family('confinement.', ['root-parent', 'deep-parent'], () => otherPath('..')),
  'confinement.root-listed-parent': entries((list) =>
    list.map((one) => (one.name === '..' ? { ...one, type: DT_SOCK, qid: { ...one.qid, path: 3n } } : one)),
  ),
  'confinement.walk-slash': permit('Twalk'),
  'confinement.walk-link': twist('Twalk', ({ wqids }) => ({ wqids: wqids.map((qid) => ({ ...qid, type: 0 })) })),
  'confinement.walk-through-link': further('link'),
  'confinement.walk-through-link-up': wayOut(),
  'confinement.absolute-link': further('abs'),
  'confinement.open-link': any(
    permit('Tlopen'),
    after(
      'Tlopen',
      respond('Tread', ({ offset }) => ({ data: Buffer.from('untouched').subarray(offset) })),
    ),
  ),
  'confinement.open-directory-link': permit('Tlopen'),
  ...family('confinement.', ['create-in-link', 'create-up'], () => permit('Tlcreate')),
  'confinement.create-over-link': any(permit('Tlcreate'), after('Tlcreate', garble())),
  'confinement.create-over-dangling': any(
    permit('Tlcreate'),
    after(
      'Tlcreate',
      entries((list, { offset }) => (offset === 0n ? [...list, { ...ghost, offset: list.at(-1)?.offset ?? 1n }] : list)),
    ),
  ),
  'confinement.mkdir-in-link': permit('Tmkdir'),
  'confinement.symlink-in-link': permit('Tsymlink'),
  ...family('confinement.', ['unlink-in-link', 'unlink-up'], () => permit('Tunlinkat')),
  ...family('confinement.', ['rename-into-link', 'rename-from-link', 'rename-up'], () => permit('Trenameat')),
  ...family('confinement.', ['truncate-link', 'chmod-link', 'chown-link', 'times-link'], through),
  'confinement.link-link': after(
    'Tlink',
    twist('Tgetattr', ({ nlink }) => ({ nlink: nlink + 1 })),
  ),
  'confinement.getattr-link': twist('Tgetattr', () => ({ mode: 0o100644 })),
  'confinement.xattr-link': any(
    twist(
      'Txattrwalk',
      () => ({ size: 13 }),
      ({ name }) => name === '',
    ),
    respond('Tread', ({ offset }) => ({ data: Buffer.from(offset === 0 ? 'user.through\0' : '') })),
  ),
  'confinement.swapped-directory': garble(),
};

export const conversation = { ...version, ...attach, ...walk, ...flush, ...limits, ...malformed, ...concurrency, ...locks, ...confinement };
