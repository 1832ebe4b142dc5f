import { NOTAG, VERSION_UNKNOWN } from '../../protocol/constants.js';
import type { Reply, TName } from '../../protocol/messages.js';
import { ALL, type Check, checks } from '../check.js';
import { refused, same, that, unlessRefused } from '../expect.js';
import type { Trial } from '../trial.js';
import { type Answer, replyOf, type Wire } from '../wire.js';

/** Tversion on the connection there is, which the runner then puts right again. */
function version(t: Trial, msize: number, version = t.wire.dialect as string) {
  t.wire.dirty = true;
  return t.wire.version(msize, version);
}

/** A version that nobody speaks must be answered, with "unknown" or with a version of which it is an extension. */
async function unknown(t: Trial, asked: string, ...allowed: string[]): Promise<void> {
  const answer = await version(t, t.wire.msize, asked);
  that([VERSION_UNKNOWN, ...allowed].includes(answer.version), `the version answered is ${JSON.stringify(answer.version)}`);
}

async function attached(t: Trial, wire: Wire): Promise<void> {
  await wire.request('Tattach', t.attachBody(wire.newFid()));
}

/** Undefined where the server refuses it, with an error or with the end of the connection. */
async function replyUnlessRefused<N extends TName>(t: Trial, name: N, reply: Promise<Answer>): Promise<Reply<N> | undefined> {
  const answer = await t.answerOrEnd(reply);
  return answer && unlessRefused((async () => replyOf(name, answer))());
}

export const version_: Check[] = checks(
  'version',
  { source: 'version(5)', dialects: ALL },
  {
    'version.echo': [
      'Tversion for a version that the server speaks is answered with that version',
      async (t) => {
        const { dialect, msize } = t.wire;
        same((await version(t, msize)).version, dialect, 'the version');
      },
    ],
    'version.tag': [
      'Rversion carries NOTAG',
      async (t) => {
        t.wire.dirty = true;
        const { answer } = t.wire.post('Tversion', { msize: t.wire.msize, version: t.wire.dialect }, NOTAG);
        same((await t.soon(answer, 'no reply with NOTAG')).tag, NOTAG, 'the tag');
      },
    ],
    'version.msize': [
      'The msize of Rversion is at most that of Tversion',
      async (t) => {
        const { msize } = await version(t, 8192);
        that(msize <= 8192, `8192 asked for, ${msize} answered`);
        that(msize >= 4096, `8192 asked for, ${msize} answered`);
      },
    ],
    'version.msize-4096': [
      'An msize of 4096 is granted as it is',
      async (t) => same((await version(t, 4096)).msize, 4096, 'msize'),
      { source: 'Linux v9fs and QEMU: the least msize there is' },
    ],
    'version.msize-tiny': [
      'An msize too small to work with is refused, answered with "unknown", or obeyed',
      async (t) => {
        const wire = await t.dial();
        const posted = wire.post('Tversion', { msize: 16, version: t.wire.dialect }, NOTAG);
        const reply = await replyUnlessRefused(t, 'Tversion', posted.answer);
        if (reply === undefined) return;
        const { msize, version } = reply;
        that(version === VERSION_UNKNOWN || msize <= 16, `16 asked for, ${version} with ${msize} answered`);
      },
    ],
    'version.msize-huge': [
      'An msize of 2^32-1 is answered with one that the server can keep',
      async (t) => {
        const { msize } = await version(t, 0xffffffff);
        that(msize >= 4096 && msize <= 0x7fffffff, `msize is ${msize}`);
      },
    ],
    'version.msize-kept': [
      'No frame is longer than the msize agreed on',
      async (t) => {
        const file = await t.file(Buffer.alloc(20000, 'x'));
        await file.clunk();
        const other = await t.other(4096);
        const fid = await (await (await other.dir()).walk('file')).open();
        // The wire itself complains about a longer frame.
        const read = await unlessRefused(other.request('Tread', { fid: fid.number, offset: 0, count: 20000 }));
        if (read !== undefined) that(read.data.length <= 4096 - 11, `${read.data.length} bytes of data`);
      },
    ],
    'version.unknown': ['A version that the server does not know is answered with "unknown"', (t) => unknown(t, 'XYZZY')],
    'version.later': ['A later version than any is answered with "unknown" or an older one', (t) => unknown(t, '9P3000', '9P2000')],
    'version.suffix': ['An unknown extension of 9P2000 is answered with "9P2000" or "unknown"', (t) => unknown(t, '9P2000.xyz', '9P2000')],
    'version.prefix': [
      'A version string that only begins like a known one is not taken for it',
      (t) => unknown(t, `${t.wire.dialect}x`, '9P2000'),
    ],
    'version.case': ['Version strings are compared as they are', (t) => unknown(t, t.wire.dialect.toLowerCase(), '9P2000')],
    'version.empty': [
      'An empty version string is not taken for a version',
      async (t) => {
        const wire = await t.dial();
        const { answer } = wire.post('Tversion', { msize: t.wire.msize, version: '' }, NOTAG);
        const reply = await replyUnlessRefused(t, 'Tversion', answer);
        that(reply === undefined || reply.version === VERSION_UNKNOWN, 'it was accepted');
      },
    ],
    'version.after-unknown': [
      'After "unknown" the client may ask for another version on the same connection',
      async (t) => {
        const wire = await t.dial();
        await t.answerOrEnd(wire.post('Tversion', { msize: t.wire.msize, version: 'XYZZY' }, NOTAG).answer);
        same((await wire.version(t.wire.msize, t.wire.dialect)).version, t.wire.dialect, 'the version');
        await attached(t, wire);
      },
    ],
    'version.again': [
      'Tversion may be sent again and is answered as before',
      async (t) => {
        const { dialect, msize } = t.wire;
        await version(t, msize);
        same((await version(t, msize)).version, dialect, 'the version');
        await (await t.root()).clunk();
      },
    ],
    'version.clunks-fids': [
      'A second Tversion clunks every fid',
      async (t) => {
        const root = await t.root();
        await version(t, t.wire.msize);
        await refused(root.walk());
      },
    ],
    'version.frees-fids': [
      'After a second Tversion every fid number is free',
      async (t) => {
        const root = await t.root();
        await version(t, t.wire.msize);
        await t.request('Tattach', t.attachBody(root.number));
      },
    ],
    'version.first': [
      'Nothing but Tversion is done before Tversion',
      async (t) => {
        const wire = await t.dial();
        const reply = await replyUnlessRefused(t, 'Tattach', wire.post('Tattach', t.attachBody(1)).answer);
        that(reply === undefined, 'Tattach was done');
      },
    ],
  },
);
