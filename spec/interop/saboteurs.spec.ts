import { mkdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { memoryPair, type Transport } from '../../lib/index.js';
import { allChecks, type Check, type InteropOptions, interop, type Result } from '../../lib/interop/index.js';
import { type Dialect, VERSION_L, VERSION_U } from '../../lib/protocol/index.js';
import { Server } from '../../lib/server/index.js';
import { localBackend } from '../../lib/server/local/index.js';
import { Plan9Server } from '../support/plan9.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { middle, type Saboteur } from './middle.js';
import { conversation } from './saboteurs/conversation.js';
import { files, older } from './saboteurs/files.js';

const saboteurs: Readonly<Record<string, Saboteur>> = { ...conversation, ...files, ...older };

/** Every check of a dialect, each with its saboteur at work while it runs (`sabotaged`) or without. */
async function run(dial: () => Transport, dialect: Dialect, checks: readonly Check[], sabotaged: boolean): Promise<Map<string, Result>> {
  let armed: Saboteur | undefined;
  const options: InteropOptions = {
    dialect,
    checks: checks.map(({ id }) => id),
    // What never comes must not be waited for long; what comes late here has failed anyhow.
    ...(sabotaged ? { patience: 400, timeout: 3_000 } : {}),
    watch: {
      begin({ id }) {
        armed = sabotaged ? saboteurs[id] : undefined;
      },
      end() {
        armed = undefined;
      },
    },
  };
  const report = await interop(async () => middle(dial(), dialect, () => armed), options);
  return new Map(report.results.map((result) => [result.id, result]));
}

test('every check has a saboteur, and every saboteur a check', () => {
  expect(Object.keys(saboteurs).sort()).toEqual(allChecks.map(({ id }) => id).sort());
});

/** A server that keeps every rule, and what each check says of it: first as it is, then with that check's rule broken. */
function suite(
  checks: readonly Check[],
  dialect: Dialect,
  start: () => Promise<{ dial: () => Transport; end: () => Promise<void> }>,
): void {
  let right: Map<string, Result>;
  let wrong: Map<string, Result>;
  let end = async (): Promise<void> => {};

  beforeAll(async () => {
    const server = await start();
    end = server.end;
    right = await run(server.dial, dialect, checks, false);
    wrong = await run(server.dial, dialect, checks, true);
  }, 600_000);

  afterAll(() => end());

  for (const { id } of checks) {
    test(id, () => {
      expect(right.get(id), 'of the server as it is').toMatchObject({ outcome: 'pass' });
      expect(wrong.get(id), 'of the server with a wrong answer').toMatchObject({ outcome: 'deviates' });
    });
  }
}

requires('linux')('each check fails where its rule is broken: 9P2000.L', () => {
  const checks = allChecks.filter(({ dialects }) => dialects.includes(VERSION_L));
  suite(checks, VERSION_L, async () => {
    const directory = new TemporaryDirectory('sabotage');
    mkdirSync(directory.join('export'));
    const server = new Server({ exports: { '/': await localBackend(directory.join('export'), { securityModel: 'none' }) } });
    const dial = (): Transport => {
      const [near, far] = memoryPair();
      server.serve(far);
      return near;
    };
    const end = async (): Promise<void> => {
      await server.close();
      directory.remove();
    };
    return { dial, end };
  });
});

describe('each check fails where its rule is broken: 9P2000.u', () => {
  const checks = allChecks.filter(({ dialects }) => !dialects.includes(VERSION_L));
  suite(checks, VERSION_U, async () => {
    let root: Plan9Server['root'] | undefined;
    const dial = (): Transport => {
      const [near, far] = memoryPair();
      root = new Plan9Server(far, { extended: true, root }).root;
      return near;
    };
    return { dial, end: async () => {} };
  });
});
