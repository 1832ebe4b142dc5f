import { L_O_RDWR, LOCK_BLOCKED, LOCK_FLAGS_BLOCK, LOCK_SUCCESS, LOCK_TYPE_WRLCK } from '../../protocol/constants.js';
import { ALL, type Check, checks, L } from '../check.js';
import { same, that } from '../expect.js';
import { Unsupported } from '../outcome.js';
import type { Trial } from '../trial.js';
import { replyOf } from '../wire.js';
import { atOnce } from './locks.js';

/** Tflush, and its answer as it is. */
async function flush(t: Trial, oldtag: number, tag?: number): Promise<void> {
  const posted = t.wire.post('Tflush', { oldtag }, tag);
  const answer = await t.soon(posted.answer, 'Tflush is not answered');
  same(answer.name, 'Rflush', 'the answer');
}

export const flush_: Check[] = checks(
  'flush',
  { source: 'flush(5)', dialects: ALL },
  {
    'flush.idle': ['A flush of a tag that is not in use is answered with Rflush', (t) => flush(t, 0x7ff0)],
    'flush.answered': [
      'A flush of a request that was answered is answered with Rflush',
      async (t) => {
        const { tag, answer } = t.wire.post('Tattach', t.attachBody(t.newFid()));
        await answer;
        await flush(t, tag);
      },
    ],
    'flush.self': [
      'A flush of its own tag is answered',
      async (t) => {
        const tag = t.wire.newTag();
        const answer = await t.soon(t.wire.post('Tflush', { oldtag: tag }, tag).answer, 'it is not answered');
        that(['Rflush', 'Rlerror', 'Rerror'].includes(answer.name), `it answered ${answer.name}`);
      },
    ],
    'flush.version-tag': ['A flush of NOTAG is answered', (t) => flush(t, 0xffff)],
    'flush.order': [
      'The reply to a flushed request comes before Rflush or not at all',
      async (t) => {
        const root = await t.root();
        for (let round = 0; round < 20; round++) {
          const { tag, answer } = t.wire.post('Twalk', { fid: root.number, newfid: t.newFid(), wnames: [] });
          let replied: number | undefined;
          answer.then(
            ({ order }) => {
              replied = order;
            },
            () => undefined,
          );
          const flushed = await t.soon(t.wire.post('Tflush', { oldtag: tag }).answer, 'Tflush is not answered');
          // Whatever the server sends after Rflush is sent before the answer to this.
          await (await t.root()).clunk();
          that(replied === undefined || replied < flushed.order, 'a reply came after Rflush');
          if (replied === undefined) t.wire.forget(tag);
        }
      },
    ],
    'flush.tag-again': [
      'After Rflush the old tag may be used again',
      async (t) => {
        const root = await t.root();
        const { tag, answer } = t.wire.post('Twalk', { fid: root.number, newfid: t.newFid(), wnames: [] });
        answer.catch(() => undefined);
        await flush(t, tag);
        t.wire.forget(tag);
        const again = await t.soon(
          t.wire.post('Twalk', { fid: root.number, newfid: t.newFid(), wnames: [] }, tag).answer,
          'no answer to its new use',
        );
        same(again.name, 'Rwalk', 'the answer');
      },
    ],
    'flush.twice': [
      'Two flushes of one request are both answered',
      async (t) => {
        const root = await t.root();
        const { tag, answer } = t.wire.post('Twalk', { fid: root.number, newfid: t.newFid(), wnames: [] });
        answer.catch(() => undefined);
        await Promise.all([flush(t, tag), flush(t, tag)]);
        t.wire.forget(tag);
      },
    ],
    'flush.many': [
      'Fifty flushes at once are all answered',
      async (t) => {
        const flushes = Array.from({ length: 50 }, (_, index) => flush(t, 0x7f00 + index));
        await Promise.all(flushes);
      },
    ],
    'flush.of-flush': [
      'A flush of a flush is answered',
      async (t) => {
        const { tag, answer } = t.wire.post('Tflush', { oldtag: 0x7ff0 });
        await flush(t, tag);
        await answer.catch(() => undefined);
      },
    ],
    'flush.done-or-not': [
      'A request that was flushed was done, or was not; the fid tells which',
      async (t) => {
        const root = await t.root();
        const newfid = t.newFid();
        const { tag, answer } = t.wire.post('Twalk', { fid: root.number, newfid, wnames: [] });
        let walked = false;
        answer.then(
          ({ name }) => {
            walked = name === 'Rwalk';
          },
          () => undefined,
        );
        await flush(t, tag);
        t.wire.forget(tag);
        const { name } = await t.wire.post('Tclunk', { fid: newfid }).answer;
        if (walked) same(name, 'Rclunk', 'the clunk of the fid that Rwalk promised');
      },
    ],
    'flush.waiting': [
      'A request that waits can be flushed, and then does not happen',
      async (t) => {
        const file = await t.file();
        const [other, third] = [await (await file.clone()).open(L_O_RDWR), await (await file.clone()).open(L_O_RDWR)];
        const one = await file.open(L_O_RDWR);
        const range = { type: LOCK_TYPE_WRLCK, start: 0, length: 0 };
        same(await one.lock(range), LOCK_SUCCESS, 'the status');
        const body = { fid: other.number, flags: LOCK_FLAGS_BLOCK, ...range, procId: 2, clientId: 'other' };
        const { tag, answer } = t.wire.post('Tlock', body);
        const first = await atOnce(answer, one);
        if (first !== undefined) {
          const { status } = replyOf('Tlock', first);
          if (status === LOCK_BLOCKED) throw new Unsupported('a lock does not wait here');
          throw new Unsupported('locks do not conflict here');
        }
        answer.catch(() => undefined);
        await flush(t, tag);
        t.wire.forget(tag);
        await one.clunk();
        same(await third.lock({ ...range, procId: 3 }), LOCK_SUCCESS, 'the status of a third lock');
      },
      { dialects: L },
    ],
  },
);
