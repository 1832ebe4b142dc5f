import { MAXWELEM, QTDIR } from '../protocol/constants.js';
import type { Handle } from './handle.js';
import { Unable } from './outcome.js';
import type { Trial } from './trial.js';

/** A directory of one check, made when it is first wanted, below the scratch directory. */
export class Place {
  readonly #above: readonly string[];
  readonly #name: string;
  /** Why there is no scratch directory, if there is none. */
  readonly #problem: string | undefined;
  #making: Promise<void> | undefined;

  /** `above`: the names that lead to the scratch directory. */
  constructor(above: readonly string[], name: string, problem?: string) {
    this.#above = above;
    this.#name = name;
    this.#problem = problem;
  }

  get path(): readonly string[] {
    return [...this.#above, this.#name];
  }

  get made(): boolean {
    return this.#making !== undefined;
  }

  async dir(trial: Trial): Promise<Handle> {
    this.#making ??= this.#make(trial);
    await this.#making;
    return walkFar(trial, this.path);
  }

  async #make(trial: Trial): Promise<void> {
    if (this.#problem !== undefined) throw new Unable(`no directory to work in: ${this.#problem}`);
    try {
      const above = await walkFar(trial, this.#above);
      await above.mkdir(this.#name, 0o755);
      await above.clunk();
    } catch (error) {
      throw new Unable(`no directory to work in: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** Takes it away with all that is in it. */
  async remove(trial: Trial): Promise<void> {
    if (!this.made) return;
    const above = await walkFar(trial, this.#above);
    await removeTree(above, this.#name);
    await above.clunk();
  }
}

/** As many of the names in each step as one Twalk takes. */
export function stepsOf(names: readonly string[]): string[][] {
  const steps: string[][] = [];
  for (let at = 0; at < names.length; at += MAXWELEM) steps.push(names.slice(at, at + MAXWELEM));
  return steps;
}

/** A new fid below a new attach, however far. */
export async function walkFar(trial: Trial, names: readonly string[]): Promise<Handle> {
  let at = await trial.root();
  for (const step of stepsOf(names)) {
    const next = await at.walk(...step);
    await at.clunk();
    at = next;
  }
  return at;
}

/** Removes a file, or a directory with all below it, as far as that can be. With Tremove, which every server has. */
export async function removeTree(directory: Handle, name: string): Promise<void> {
  const fid = await directory.walk(name);
  if ((fid.qid.type & QTDIR) !== 0) await emptied(fid);
  await fid.remove();
}

/** What cannot be removed keeps nothing beside it. The directory's own Tremove then tells that something has stayed. */
async function emptied(directory: Handle): Promise<void> {
  const names = await directory.names().catch(() => []);
  for (const name of names) await removeTree(directory, name).catch(() => undefined);
}
