/** What a check says is about its own rule and nothing else: not about what another check has left, nor about a server that is right in a way of its own. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { memoryPair, type Transport } from '../../lib/index.js';
import { type InteropOptions, interop, type Report } from '../../lib/interop/index.js';
import { type Message, NOFID, VERSION_L } from '../../lib/protocol/index.js';
import { MemoryBackend, Server } from '../../lib/server/index.js';
import { middle, type Saboteur } from './middle.js';
import { alter, any } from './sabotage.js';

let server: Server;
let armed: Saboteur | undefined;

beforeEach(() => {
  armed = undefined;
  server = new Server({ exports: { '/': new MemoryBackend() } });
});

afterEach(() => server.close());

const dial = async (): Promise<Transport> => {
  const [near, far] = memoryPair();
  server.serve(far);
  return middle(near, VERSION_L, () => armed);
};

/** The checks that do not pass, and what they say. */
async function failing(options: InteropOptions): Promise<Record<string, string>> {
  return failures(await interop(dial, { patience: 500, timeout: 5_000, ...options }));
}

function failures({ results }: Report): Record<string, string> {
  return Object.fromEntries(results.filter(({ outcome }) => outcome !== 'pass').map(({ id, outcome }) => [id, outcome]));
}

describe('a check has nothing to do with what another has left:', () => {
  test('a NOFID that was attached to', async () => {
    const taken = (fid: number): number => (fid === NOFID ? 0xfffffff0 : fid);
    armed = any(
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
        armed = id === 'clunk.frees' ? keeping : undefined;
      },
      end: () => {},
    };
    expect(await failing({ groups: ['remove'], checks: ['clunk.*'], watch })).toEqual({ 'clunk.frees': 'error' });
  });

  test('an answer that comes late', async () => {
    const kept: Message[] = [];
    const watch: InteropOptions['watch'] = {
      begin: ({ id }) => {
        armed = {
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
        armed = undefined;
      },
    };
    expect(await failing({ checks: ['flush.twice', 'flush.many'], watch })).toEqual({});
    expect(kept).toEqual([]);
  });
});
