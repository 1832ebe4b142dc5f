import { mkdirSync, writeFileSync } from 'node:fs';
import { connect } from '../../lib/index.js';
import { run } from '../support/child.js';
import { diod } from '../support/servers/diod.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { type Comparison, compare, seconds } from './pairs.js';

const MIB = 1024 * 1024;
const SIZE = 1024 * MIB;
const ENTRIES = 10_000;

/** Our client against diod's own, on diod. */
export async function benchClient({ pairs, only }: { pairs: number; only: RegExp }): Promise<Comparison[]> {
  const [streaming, attributes] = ['stream 1 GiB off diod', `list ${ENTRIES} files and getattr each, off diod`];
  if (!only.test(streaming) && !only.test(attributes)) return [];
  const directory = new TemporaryDirectory('bench');
  const file = directory.join('large');
  for (let at = 0; at < SIZE; at += 64 * MIB) writeFileSync(file, Buffer.alloc(64 * MIB), { flag: 'a' });
  const many = directory.join('many');
  mkdirSync(many);
  for (let index = 0; index < ENTRIES; index++) writeFileSync(`${many}/entry-${index}`, '');
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
  const listing = () =>
    seconds(async () => {
      await using client = await connect(server.address(), { polled: true });
      await using fid = await client.root.walk(['many']);
      await fid.open(0);
      const pending: Promise<unknown>[] = [];
      for await (const { name } of fid.entries()) {
        if (name === '.' || name === '..') continue;
        pending.push(
          client.root.walk(['many', name]).then(async (entry) => {
            await entry.getattr();
            await entry.clunk();
          }),
        );
      }
      await Promise.all(pending);
      if (pending.length !== ENTRIES) throw new Error(`${pending.length} entries`);
    });
  const diodls = () =>
    seconds(() => run('sh', ['-c', `diodls -l -s ${server.socketPath} -a ${directory.path} many > /dev/null`], { timeout: 600_000 }));
  try {
    const comparisons: Comparison[] = [];
    if (only.test(streaming)) comparisons.push(await compare(streaming, ['our client', ours], ['diodcat', theirs], pairs));
    if (only.test(attributes)) comparisons.push(await compare(attributes, ['our client', listing], ['diodls -l', diodls], pairs));
    return comparisons;
  } finally {
    await server.stop();
    directory.remove();
  }
}
