import { setImmediate as immediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type Node, Nodes } from '../../lib/fuse/nodes.js';
import { Shrinker } from '../../lib/fuse/shrinker.js';
import { S_IFDIR, S_IFREG } from '../../lib/protocol/constants.js';
import { shell } from '../support/child.js';
import { requires } from '../support/requires.js';
import { mounted } from './mounted.js';

/** Nodes, and a kernel that forgets what it is asked to, unless it is in use there. */
class Crowd {
  readonly nodes = new Nodes({ type: 0x80, version: 0, path: 1n });
  readonly asked: string[] = [];
  readonly used = new Set<string>();
  readonly shrinker;
  #next = 2n;

  constructor(most: number) {
    this.shrinker = new Shrinker(this.nodes, most, async (parent, name) => {
      this.asked.push(name);
      const node = parent.children?.get(name);
      await immediate();
      if (node !== undefined && !this.used.has(name)) this.nodes.forget(node, node.lookups);
    });
  }

  add(name: string, mode = S_IFREG): Node {
    const node = this.nodes.add({ type: 0, version: 0, path: this.#next++ });
    node.mode = mode;
    node.lookups = 1;
    this.nodes.link(node, this.nodes.root, name);
    this.shrinker.grown();
    return node;
  }

  async settled(): Promise<void> {
    while (this.shrinker.busy) await immediate();
  }
}

test('those known for longest are asked for once there are too many, and no more than needed', async () => {
  const crowd = new Crowd(100);
  // The root is one of them.
  for (let index = 0; index < 99; index++) crowd.add(`f${index}`);
  expect(crowd.shrinker.busy).toBe(false);
  crowd.add('f99');
  await crowd.settled();
  expect(crowd.asked).toEqual(Array.from({ length: 11 }, (_, index) => `f${index}`));
  expect(crowd.nodes.size).toBe(90);
  // More come in while it is at work; the next one after that begins anew.
  for (let index = 100; index < 150; index++) crowd.add(`f${index}`);
  await crowd.settled();
  crowd.add('f150');
  await crowd.settled();
  expect(crowd.nodes.size).toBeLessThanOrEqual(100);
  expect(crowd.nodes.size).toBeGreaterThanOrEqual(88);
  expect(crowd.asked).toEqual(Array.from(crowd.asked, (_, index) => `f${index}`));
});

test('directories are never asked for, nor a file twice in a row that is in use, nor is it tried for each new one', async () => {
  const crowd = new Crowd(50);
  for (let index = 0; index < 30; index++) crowd.add(`d${index}`, S_IFDIR);
  for (let index = 0; index < 60; index++) {
    crowd.used.add(`u${index}`);
    crowd.add(`u${index}`);
    await crowd.settled();
  }
  expect(crowd.asked.filter((name) => name.startsWith('d'))).toEqual([]);
  expect(crowd.nodes.size).toBe(91);
  // All are in use: each search begins five nodes after the last one, and looks at everybody once.
  expect(crowd.asked.length).toBeLessThan(60 * 10);
  crowd.used.clear();
  for (let index = 0; index < 20; index++) crowd.add(`f${index}`);
  await crowd.settled();
  expect(crowd.nodes.size).toBeLessThan(91);
}, 60_000);

requires('mount')('a mount whose kernel may know 200 files', () => {
  test('knows no more of four hundred that are looked at, and all of them are what they were', { timeout: 120_000 }, async () => {
    await using at = await mounted('passthrough', { maxNodes: 200 });
    await shell('mkdir "$1/many"; cd "$1/many"; for n in $(seq 400); do echo "$n" > "f$n"; done', [at.source]);
    const { stdout } = await shell(
      `cd "$1/many"; exec 3<f1
       n=$(stat -c '%s %n' f* | while read -r size name; do [ "$size" -ne "\${#name}" ] || echo; done | wc -l)
       read -r first <&3; echo "$n of 400, $first, $(pwd)"; ls -l | wc -l; cat f* | sort -n | md5sum; seq 400 | md5sum`,
      [at.directory],
    );
    const [line, listed, mine, theirs] = stdout.trim().split('\n');
    expect(line).toBe(`400 of 400, 1, ${at.directory}/many`);
    expect(listed).toBe('401');
    expect(mine).toBe(theirs);
    for (const deadline = Date.now() + 30_000; at.mount.counters().nodes > 230 && Date.now() < deadline; ) await immediate();
    expect(at.mount.counters().nodes).toBeLessThanOrEqual(230);
  });
});
