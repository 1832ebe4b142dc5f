import { NOFID, QTDIR } from '../../protocol/constants.js';
import { ALL, type Check, checks, L } from '../check.js';
import { refused, same, that } from '../expect.js';
import { STRANGER } from '../trial.js';

export const attach: Check[] = checks(
  'attach',
  { source: 'attach(5)', dialects: ALL },
  {
    'attach.directory': [
      'The root is a directory',
      async (t) => {
        const root = await t.root();
        that((root.qid.type & QTDIR) !== 0, `qid.type is ${root.qid.type}`);
        same((await root.info()).isDirectory, true, 'what the attributes say');
      },
    ],
    'attach.same-root': [
      'Two attaches to one tree give one qid',
      async (t) => same((await t.root()).qid.path, (await t.root()).qid.path, 'the path of the second root'),
    ],
    'attach.qid': [
      'Rattach has the qid that the attributes of the root have',
      async (t) => {
        const root = await t.root();
        const qid = root.isL ? (await root.getattr()).qid : (await root.stat()).qid;
        same([qid.type, qid.path], [root.qid.type, root.qid.path], 'type and path');
      },
    ],
    'attach.fid-in-use': [
      'An attach to a fid that is in use is refused',
      async (t) => {
        const root = await t.root();
        await refused(t.request('Tattach', t.attachBody(root.number)));
      },
    ],
    'attach.fid-in-use-kept': [
      'A refused attach leaves the fid that is in use as it was',
      async (t) => {
        const root = await t.root();
        await refused(t.request('Tattach', t.attachBody(root.number)));
        await root.walk();
      },
    ],
    'attach.unknown-aname': [
      'A tree that is not there cannot be attached to',
      async (t) => {
        const body = { ...t.attachBody(t.newFid()), aname: '/no such tree/ninep-interop' };
        await refused(t.request('Tattach', body));
      },
    ],
    'attach.nofid': [
      'NOFID is no fid to attach to',
      (t) => refused(t.request('Tattach', t.attachBody(t.claim(NOFID)))),
      { source: 'intro(5): NOFID stands for no fid' },
    ],
    'attach.unknown-afid': [
      'An afid that Tauth did not make is refused',
      (t) => refused(t.request('Tattach', { ...t.attachBody(t.newFid()), afid: STRANGER })),
    ],
    'attach.afid-is-no-auth': [
      'A fid that is no afid does not do as one',
      async (t) => {
        const root = await t.root();
        await refused(t.request('Tattach', { ...t.attachBody(t.newFid()), afid: root.number }));
      },
    ],
    'attach.no-auth': [
      'A server that lets everybody in answers Tauth with an error',
      async (t) => {
        const { uname, aname, nUname } = t.attachBody(0);
        await refused(t.request('Tauth', { afid: t.newFid(), uname, aname, nUname }));
      },
    ],
    'attach.number-again': [
      'After Tclunk the number may be attached again',
      async (t) => {
        const root = await t.root();
        await root.clunk();
        await t.request('Tattach', t.attachBody(root.number));
        await root.clunk();
      },
    ],
    'attach.independent': [
      'Clunking one root leaves the other',
      async (t) => {
        const [one, other] = [await t.root(), await t.root()];
        await one.clunk();
        await other.walk();
      },
    ],
    'attach.any-number': [
      'A fid may have any number but NOFID',
      async (t) => {
        for (const number of [0xfffffffe, 0x80000000, 0]) {
          await t.request('Tattach', t.attachBody(t.claim(number)));
          await t.request('Tclunk', { fid: number });
        }
      },
    ],
    'attach.no-uname': [
      'n_uname suffices to say who attaches',
      async (t) => {
        await t.request('Tattach', { ...t.attachBody(t.newFid()), uname: '', nUname: t.ground.attach.uid });
      },
      { source: '9P2000.L protocol description: attach', dialects: L },
    ],
  },
);
