import { writeFileSync } from 'node:fs';
import { connect } from '../../lib/index.js';
import { run } from '../support/child.js';
import { diod } from '../support/servers/diod.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { type Comparison, compare, seconds } from './pairs.js';

const MIB = 1024 * 1024;
const SIZE = 1024 * MIB;

/** Our client against diod's own, on diod. */
export async function benchClient({ pairs, only }: { pairs: number; only: RegExp }): Promise<Comparison[]> {
  if (!only.test('stream 1 GiB')) return [];
  const directory = new TemporaryDirectory('bench');
  const file = directory.join('large');
  for (let at = 0; at < SIZE; at += 64 * MIB) writeFileSync(file, Buffer.alloc(64 * MIB), { flag: 'a' });
  const server = await diod(directory.path);
  const ours = () =>
    seconds(async () => {
      await using client = await connect(server.address(), { polled: true });
      await using fid = await client.root.walk(['large']);
      await fid.open(0);
      const buffer = new Uint8Array(4 * MIB);
      for (let at = 0; at < SIZE; at += buffer.length) await fid.read(buffer, at);
    });
  const theirs = () =>
    seconds(() => run('sh', ['-c', `diodcat -s ${server.socketPath} -a ${directory.path} large > /dev/null`], { timeout: 600_000 }));
  try {
    return [await compare('stream 1 GiB off diod', ['our client', ours], ['diodcat', theirs], pairs)];
  } finally {
    await server.stop();
    directory.remove();
  }
}
