import { QTDIR } from '../protocol/constants.js';
import type { Qid } from '../protocol/types.js';

/** A fid, as far as its place looks at it. */
interface Holder {
  readonly known: boolean;
  readonly qid: Qid;
}

/**
 * A name in the tree that a client has walked to. All fids walked to one name share its place, so a rename moves one place and with it
 * the path of every fid at or below it. A place whose name is taken away or taken over is gone: its fids are of a file without a name.
 *
 * Whoever holds a place releases it; one without holders and children leaves the tree.
 */
export class Place {
  #parent: Place | undefined;
  #name: string;
  #children: Map<string, Place> | undefined;
  #holders = 0;
  /** Whoever came last: its qid tells which file this is. */
  #last: Holder | undefined;
  #gone = false;

  private constructor(parent: Place | undefined, name: string) {
    this.#parent = parent;
    this.#name = name;
  }

  /** The root of an attach. */
  static root(): Place {
    return new Place(undefined, '');
  }

  /** The names from the root to here. */
  get names(): string[] {
    const names: string[] = [];
    for (let place: Place = this; place.#parent !== undefined; place = place.#parent) names.push(place.#name);
    return names.reverse();
  }

  /** Whether the file here has no name any more, as far as this client knows. */
  get gone(): boolean {
    for (let place: Place | undefined = this; place !== undefined; place = place.#parent) if (place.#gone) return true;
    return false;
  }

  /** The place that `names` lead to; ".." stays at the root there. */
  descend(names: readonly string[]): Place {
    let place: Place = this;
    for (const name of names) place = name === '..' ? (place.#parent ?? place) : place.#child(name);
    return place;
  }

  #child(name: string): Place {
    this.#children ??= new Map();
    let child = this.#children.get(name);
    if (child === undefined) {
      child = new Place(this, name);
      this.#children.set(name, child);
    }
    return child;
  }

  hold(holder?: Holder): this {
    this.#holders++;
    if (holder !== undefined) this.#last = holder;
    return this;
  }

  release(): void {
    this.#holders--;
    if (this.#holders <= 0) this.#last = undefined;
    this.#prune();
  }

  #prune(): void {
    for (let place: Place | undefined = this; place !== undefined && place.#holders <= 0 && (place.#children?.size ?? 0) === 0; ) {
      const parent: Place | undefined = place.#parent;
      if (parent !== undefined && parent.#children?.get(place.#name) === place) parent.#children.delete(place.#name);
      place = parent;
    }
  }

  /** The directory of this place, and its name there; undefined for the root. */
  above(): { parent: Place; name: string } | undefined {
    return this.#parent && { parent: this.#parent, name: this.#name };
  }

  /** Which file has that name here, if a fid tells. */
  fileOf(name: string): Qid | undefined {
    const child = this.#children?.get(name);
    const last = child === undefined ? undefined : child.#last;
    return last?.known ? last.qid : undefined;
  }

  /** Nothing has the name `name` here any more. */
  removed(name: string): void {
    const child = this.#children?.get(name);
    if (child === undefined) return;
    child.#gone = true;
    this.#children?.delete(name);
  }

  /** What has the name of this place has lost it. */
  takenAway(): void {
    const parent = this.#parent;
    if (parent !== undefined && parent.#children?.get(this.#name) === this) parent.removed(this.#name);
  }

  /** Whether the two names seem to be of one file, by its qid: a directory has one name only. */
  isOne(oldName: string, to: Place, newName: string): boolean {
    const [file, other] = [this.fileOf(oldName), to.fileOf(newName)];
    if (file === undefined || other === undefined || file.path !== other.path) return false;
    return ((file.type | other.type) & QTDIR) === 0;
  }

  /**
   * What had the name `oldName` here has the name `newName` in `to` now, and what had that is gone; but of two names of one file rename(2) leaves both. `two`: it is
   * known not to be one, whatever its qid says.
   */
  moved(oldName: string, to: Place, newName: string, two = false): void {
    if (to === this && oldName === newName) return;
    if (!two && this.isOne(oldName, to, newName)) return;
    to.removed(newName);
    const child = this.#children?.get(oldName);
    if (child === undefined) return;
    this.#children?.delete(oldName);
    child.#parent = to;
    child.#name = newName;
    to.#children ??= new Map();
    to.#children.set(newName, child);
    this.#prune();
  }
}
