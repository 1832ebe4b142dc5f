import { LOCK_TYPE_UNLCK } from '../../protocol/constants.js';
import { ALL, type Check, checks, L } from '../check.js';
import { same, that, unless, unlessRefused } from '../expect.js';
import type { Handle } from '../handle.js';
import { pattern } from './io.js';

export const limits: Check[] = checks(
  'limits',
  { source: '9P2000.L protocol description', dialects: ALL },
  {
    'limits.1000-fids': [
      'A thousand fids can be alive',
      async (t) => {
        const dir = await t.dir();
        await dir.make('f', 'content');
        const fids: Handle[] = [];
        for (let index = 0; index < 1000; index++) fids.push(await dir.walk('f'));
        same(await (fids[999] as Handle).content(), Buffer.from('content'), 'what the last one reads');
        same(await (fids[0] as Handle).content(), Buffer.from('content'), 'what the first one reads');
      },
      { source: 'intro(5): a fid is 32 bits' },
    ],
    'limits.300-open': [
      'Three hundred files can be open',
      async (t) => {
        const file = await t.file('content');
        const open: Handle[] = [];
        for (let index = 0; index < 300; index++) open.push(await (await file.clone()).open());
        same(await (open[299] as Handle).read(), Buffer.from('content'), 'what the last one reads');
        same(await (open[0] as Handle).read(), Buffer.from('content'), 'what the first one reads');
      },
      { source: 'QEMU closes and reopens descriptors of its own when it runs out' },
    ],
    'limits.100-in-flight': [
      'A hundred requests can be in flight',
      async (t) => {
        const root = await t.root();
        const body = () => ({ fid: root.number, newfid: t.newFid(), wnames: [] });
        const answers = await Promise.all(Array.from({ length: 100 }, () => t.wire.post('Twalk', body()).answer));
        same(answers.filter(({ name }) => name === 'Rwalk').length, 100, 'the number of Rwalks');
      },
      { source: 'intro(5): a tag is 16 bits' },
    ],
    'limits.tags': [
      'A tag may have any number but NOTAG',
      async (t) => {
        const root = await t.root();
        for (const tag of [0, 1, 255, 256, 0x7fff, 0x8000, 0xfffe]) {
          const { answer } = t.wire.post('Twalk', { fid: root.number, newfid: t.newFid(), wnames: [] }, tag);
          same((await t.soon(answer, `no answer to tag ${tag}`)).name, 'Rwalk', `the answer to tag ${tag}`);
        }
      },
      { source: 'intro(5)' },
    ],
    'limits.frame-write': [
      'A Twrite that fills msize to the last byte is taken or refused, and read back as far as it was taken',
      async (t) => {
        const file = await (await t.file()).open(2);
        const data = pattern(t.wire.msize - 23);
        const written = t.request('Twrite', { fid: file.number, offset: 0, data });
        const reply = await unlessRefused(t.soon(written, 'it is not answered'));
        if (reply === undefined) return;
        that(reply.count <= data.length, `${reply.count} of ${data.length} bytes were taken`);
        same(await (await t.dir()).content('file'), data.subarray(0, reply.count), 'the content');
      },
      { source: 'version(5): msize counts the whole message' },
    ],
    'limits.small-msize': [
      'With an msize of 4096 files are read and written right',
      async (t) => {
        await t.dir();
        const other = await t.other(4096);
        const dir = await other.dir();
        await dir.make('f', pattern(20000));
        same(await dir.content('f'), pattern(20000), 'the content');
      },
      { source: 'version(5)' },
    ],
    'limits.many-names': [
      'A directory of 300 files is listed whole',
      async (t) => {
        const dir = await t.dir();
        const names = Array.from({ length: 300 }, (_, index) => `${index}`.padStart(40, 'n')).sort();
        for (const name of names) await dir.make(name);
        same(await dir.names(), names, 'the names');
      },
      { source: 'readdir(3)' },
    ],
    'limits.long-path': [
      'A path may be longer than 4096 bytes, since it is walked',
      async (t) => {
        const names = Array.from({ length: 20 }, (_, index) => `${index}`.padEnd(250, 'p'));
        let at = await t.dir();
        for (const name of names) {
          await unless('ENAMETOOLONG', 'the server goes by whole paths', at.mkdir(name));
          at = await at.walk(name);
        }
        await unless('ENAMETOOLONG', 'the server goes by whole paths', at.make('f', 'far'));
        same(await at.content('f'), Buffer.from('far'), 'the content');
      },
      { source: 'walk(5)' },
    ],
    'limits.lock-offset': [
      'A range may begin beyond 2^40',
      async (t) => {
        const file = await (await t.file()).open(2);
        const { type } = await file.getlock({ start: 2 ** 40, length: 2 ** 20 });
        same(type, LOCK_TYPE_UNLCK, 'the type');
      },
      { dialects: L },
    ],
    'limits.count-0xffffffff': [
      'A count of 2^32-1 is answered with what fits, or an error',
      async (t) => {
        const file = await (await t.file('content')).open();
        const read = t.request('Tread', { fid: file.number, offset: 0, count: 0xffffffff });
        const reply = await unlessRefused(t.soon(read, 'it is not answered'));
        if (reply !== undefined) same(reply.data, Buffer.from('content'), 'the data');
        await t.alive();
      },
      { source: 'read(5)' },
    ],
    'limits.connections': [
      'Eight connections can be open, and each works',
      async (t) => {
        const dir = await t.dir();
        await dir.make('f', 'content');
        const others = [];
        for (let index = 0; index < 7; index++) others.push(await t.other());
        for (const other of others) same(await (await other.dir()).content('f'), Buffer.from('content'), 'the content');
      },
      { source: 'many clients share a server' },
    ],
  },
);
