import { describe, expect, it } from 'vitest';
import { inOrder, type Pending, tellFollowers } from '../../lib/client/pending.js';
import type { Body, TName } from '../../lib/protocol/messages.js';

function pending<N extends TName>(order: number, name: N, body: Body<N>): Pending {
  return { name, body, done: () => {}, options: undefined, order, sent: true };
}

describe('requests that waited for another connection', () => {
  it('wait for those before them that make or change one of their fids', () => {
    const walk = pending(0, 'Twalk', { fid: 1, newfid: 5, wnames: ['directory'] });
    const unlink = pending(1, 'Tunlinkat', { dirfd: 5, name: 'file', flags: 0 });
    const rename = pending(2, 'Trenameat', { olddirfid: 2, oldname: 'a', newdirfid: 5, newname: 'b' });
    const other = pending(3, 'Tgetattr', { fid: 9, requestMask: 0n });
    const sent: TName[] = [];
    inOrder([walk, unlink, rename, other], ({ name }) => sent.push(name));
    expect(sent).toEqual(['Twalk', 'Tgetattr']);
    tellFollowers(walk);
    expect(sent).toEqual(['Twalk', 'Tgetattr', 'Tunlinkat']);
    tellFollowers(unlink);
    expect(sent).toEqual(['Twalk', 'Tgetattr', 'Tunlinkat', 'Trenameat']);
  });

  it('wait for nothing that changes no fid, least of all for a lock that somebody else has', () => {
    const names: TName[] = [];
    const range = { fid: 1, type: 1, flags: 1, start: 0, length: 0, procId: 1, clientId: 'me' };
    const lock = pending(0, 'Tlock', range);
    const read = pending(1, 'Tread', { fid: 1, offset: 0, count: 1 });
    const clunk = pending(2, 'Tclunk', { fid: 1 });
    inOrder([lock, read, clunk], ({ name }) => names.push(name));
    expect(names).toEqual(['Tlock', 'Tread', 'Tclunk']);
  });
});
