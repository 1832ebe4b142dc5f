import { readdirSync, statSync } from 'node:fs';
import { expect, test } from 'vitest';
import { AT_REMOVEDIR } from '../../../lib/protocol/constants.js';
import type { BackendNode } from '../../../lib/server/backend.js';
import { Random } from '../../support/random.js';
import { caller, Exported, outcome } from './exported.js';

const EXPECTED = new Set(['done', 'EEXIST', 'ENOENT', 'ENOTEMPTY', 'EISDIR', 'ENOTDIR', 'EINVAL', 'EPERM']);
const DIRECTORIES = ['', 'd', 'e'];
const NAMES = ['a', 'b', 'c', 'x'];

interface Held {
  node: BackendNode;
  uid: number;
}

/** Random changes, many at once; each file belongs to a user of its own, by whom it is known again wherever it goes. */
class Together {
  readonly #e: Exported;
  readonly #random: Random;
  readonly #directories: BackendNode[] = [];
  readonly held: Held[] = [];
  readonly users = new Map<bigint, number>();
  readonly amiss: string[] = [];
  #last = 10_000;

  constructor(e: Exported, random: Random) {
    this.#e = e;
    this.#random = random;
  }

  async begin(): Promise<void> {
    for (const name of DIRECTORIES) {
      if (name !== '') await this.#e.mkdir(name);
      this.#directories.push(await this.#e.walk(name));
    }
  }

  async step(): Promise<void> {
    const random = this.#random;
    const [from, to] = [random.pick(this.#directories), random.pick(this.#directories)];
    const [name, other] = [random.pick(NAMES), random.pick(NAMES)];
    const kind = random.integer(0, 30);
    const result = await outcome(async () => {
      if (kind < 3) await this.#create(from, name);
      else if (kind < 6) await from.rename(name, to, other, caller());
      else if (kind < 7) await from.unlink(name, 0, caller());
      else if (kind < 8) await this.#link(from, name);
      else if (kind < 29) await this.#look();
      else if (random.oneIn(2)) await from.mkdir(name, 0o755, 0, caller(this.#last++));
      else await from.unlink(name, AT_REMOVEDIR, caller());
    });
    if (!EXPECTED.has(result)) this.amiss.push(`kind ${kind} ${name} ${other}: ${result}`);
  }

  async #create(from: BackendNode, name: string): Promise<void> {
    const uid = this.#last++;
    const { node, file } = await from.create(name, 0o301, 0o644, 0, caller(uid));
    await file.close();
    this.users.set(node.qid.path, uid);
    this.held.push({ node, uid });
  }

  async #link(from: BackendNode, name: string): Promise<void> {
    if (this.held.length > 0) await from.link(name, this.#random.pick(this.held).node, caller());
  }

  async #look(): Promise<void> {
    if (this.held.length === 0) return;
    const { node, uid } = this.#random.pick(this.held.slice(-6));
    const seen = await node.getattr(0n, caller());
    if (seen.uid !== uid) this.amiss.push(`user ${uid} was seen as ${seen.uid}`);
  }

  async compare(): Promise<void> {
    for (const { node, uid } of this.held) {
      const seen = await node.getattr(0n, caller());
      if (seen.uid !== uid)
        this.amiss.push(`held: user ${uid} is ${seen.uid}, nlink ${seen.nlink}, name ${await outcome(() => node.name())}`);
    }
    for (const directory of DIRECTORIES) {
      const names = readdirSync(this.#e.host(directory)).filter((name) => !name.startsWith('.') && !DIRECTORIES.includes(name));
      for (const name of names) {
        const path = directory === '' ? name : `${directory}/${name}`;
        const stat = statSync(this.#e.host(path), { bigint: true });
        const seen = await this.#e.attributes(path);
        if (seen.qid.path !== stat.ino) this.amiss.push(`${path} is another file`);
        if (!stat.isDirectory() && seen.uid !== this.users.get(stat.ino))
          this.amiss.push(`${path} is ${seen.uid}'s, not ${this.users.get(stat.ino)}'s`);
      }
    }
  }

  end(): void {
    for (const { node } of this.held) node.release();
    for (const node of this.#directories) node.release();
  }
}

test.each(['passthrough', 'mapped-xattr', 'mapped-file'] as const)(
  '%s: whatever is done at once, each file keeps what it was',
  async (securityModel) => {
    const random = new Random();
    for (const background of ['always', 'auto'] as const) {
      for (let round = 0; round < 4; round++) {
        await using e = await Exported.make({ securityModel, background });
        const together = new Together(e, random);
        await together.begin();
        for (let batch = 0; batch < 6; batch++) {
          await Promise.all(Array.from({ length: 24 }, () => together.step()));
          await together.compare();
        }
        together.end();
        expect({ seed: random.seed, background, amiss: together.amiss }).toEqual({ seed: random.seed, background, amiss: [] });
        expect(e.backend.counts()).toMatchObject({ descriptors: 0, held: 1 });
      }
    }
  },
);
