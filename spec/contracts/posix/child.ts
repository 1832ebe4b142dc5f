/**
 * Runs groups on a directory, in a process of its own: the suite changes its credentials, its mask and its working directory, and a process must not call
 * into a mount that it serves itself. One JSON line for each assertion on standard output.
 *
 *     node --import tsx child.ts '{"directory": …}'
 */
import fs from 'node:fs';
import path from 'node:path';
import { loadSyscalls } from '../../support/syscalls.js';
import { groups } from './groups.js';
import { mutants } from './mutants.js';
import type { Line, Order } from './order.js';
import { deviceTypes, leaveOut, type Need, type Result, type Surroundings, specialTypes, Test, type Users } from './test.js';

function say(line: Line): void {
  // Synchronous, and whole: what a crash interrupts has been said.
  const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(1, bytes, at);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
    }
  }
}

function lacking(needs: readonly Need[], order: Order): Need | undefined {
  const lacks: Record<Need, boolean> = {
    root: process.geteuid?.() !== 0,
    'read-only view': order.readOnly === undefined,
    'other file system': order.elsewhere === undefined,
    program: order.lacks?.includes('program') === true,
    'special files': order.lacks?.includes('special files') === true,
    locks: order.lacks?.includes('locks') === true,
  };
  return needs.find((need) => lacks[need]);
}

/** Without root there is nobody but who runs it: that is alice. */
function acting(users: Users): Users {
  const [uid, gid] = [process.geteuid?.(), process.getegid?.()];
  if (uid === undefined || gid === undefined || uid === 0) return users;
  return { ...users, alice: { name: 'alice', uid, gid, groups: process.getgroups?.() ?? [] } };
}

async function main(): Promise<void> {
  const order: Order = JSON.parse(process.argv[2] ?? '');
  const real = loadSyscalls();
  const mutant = order.mutant === undefined ? undefined : mutants[order.mutant];
  if (order.mutant !== undefined && mutant === undefined) throw new Error(`no mutant ${order.mutant}`);
  const sys = mutant === undefined ? real : mutant.make(loadSyscalls());
  const around: Surroundings = { users: acting(order.users), readOnly: order.readOnly, elsewhere: order.elsewhere };
  if (order.lacks?.includes('special files')) leaveOut(specialTypes);
  else if (process.geteuid?.() !== 0) leaveOut(deviceTypes);
  real.umask(0);
  let number = 0;
  for (const group of groups) {
    if (order.only !== undefined && !order.only.some((prefix) => group.name.startsWith(prefix))) continue;
    const lack = lacking(group.needs, order);
    if (lack !== undefined) {
      say({ group: group.name, skipped: lack });
      continue;
    }
    say({ group: group.name, begun: true });
    const base = path.join(order.directory, `g${++number}`);
    let count = 0;
    const report = (result: Result): void => {
      count++;
      say(result);
    };
    fs.mkdirSync(base, { mode: 0o755 });
    fs.chmodSync(base, 0o755);
    const test = new Test(group.name, base, sys, real, around, report);
    try {
      await group.run(test);
    } catch (error) {
      report({
        group: group.name,
        what: 'runs to its end',
        ok: false,
        got: error instanceof Error ? (error.stack ?? error.message) : String(error),
        want: 'no exception',
      });
    }
    real.umask(0);
    test.end();
    if (order.keep !== true) fs.rmSync(base, { recursive: true, force: true });
    say({ group: group.name, done: count });
  }
  say({ finished: true });
}

await main();
