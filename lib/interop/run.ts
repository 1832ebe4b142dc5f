import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type Dialect, NOFID, NONUNAME, VERSION_L, VERSION_LEGACY, VERSION_U } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import { type DialOptions, dial, dialectOf, parseAddress, type Transport } from '../session/index.js';
import type { Check } from './check.js';
import { allChecks } from './checks/index.js';
import { Deviation, inOneLine, judge, type Verdict } from './outcome.js';
import { Place, removeTree, walkFar } from './place.js';
import { type Report, type Result, reportOf } from './report.js';
import { type Attach, type Ground, Trial } from './trial.js';
import { Wire } from './wire.js';

/** An address as `connect` takes it, or what makes one connection after another to the same server. */
export type Target = string | (() => Promise<Transport>);

export interface InteropOptions {
  /** What to speak. Default: what the address says, else the newest dialect that the server knows. */
  dialect?: Dialect | undefined;
  /** Only these groups. */
  groups?: readonly string[] | undefined;
  /** Only these checks, by id; `walk.*` stands for all that begin so. */
  checks?: readonly string[] | undefined;
  /** The msize to ask for, in bytes. Default: 64 KiB, which every server grants. */
  msize?: number | undefined;
  /** Milliseconds that one check may take; 0: for ever. Default: 30,000. */
  timeout?: number | undefined;
  /** Milliseconds to wait for what a server may never send. Default: 5,000. */
  patience?: number | undefined;
  /** Who attaches to what. Default: as the address says, else the process's own user. */
  aname?: string | undefined;
  uname?: string | undefined;
  uid?: number | undefined;
  /** The group that new files are given. Default: the process's own. */
  gid?: number | undefined;
  /** The directory of the export to work in: names from its root. Default: the root. */
  directory?: readonly string[] | undefined;
  /** What the report calls the server. Default: the address. */
  server?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Starts the server anew after it has stopped to answer. Without it the checks that are left cannot be made then. */
  restart?: (() => Promise<void>) | undefined;
  /** Is told each result as it comes, with how many there will be. */
  onResult?: ((result: Result, done: number, total: number) => void) | undefined;
  /** Is told when a check begins, and when it has its verdict and the tidying up after it begins. */
  watch?: { begin(check: Check): void; end(check: Check): void } | undefined;
  /** For dialling an address. */
  dial?: DialOptions | undefined;
}

const MSIZE = 65536;
const FOR_EVER = 2 ** 31 - 1;

/**
 * Holds a server against the protocol. Everything that changes files happens in a directory of its own below `directory`, made at the start and
 * removed at the end.
 *
 * Rejects where no conversation can be begun at all, and with an AbortError; whatever a server does later is in the report.
 */
export async function interop(target: Target, options: InteropOptions = {}): Promise<Report> {
  const run = inspect(target, options);
  for (;;) {
    const next = await run.next();
    if (next.done) return next.value;
  }
}

/** As `interop`, result by result. */
export async function* inspect(target: Target, options: InteropOptions = {}): AsyncGenerator<Result, Report> {
  const bench = new Bench(target, options);
  const started = new Date();
  const results: Result[] = [];
  try {
    await bench.begin();
    const wanted = selected(bench.dialect, options);
    for (const check of wanted) {
      options.signal?.throwIfAborted();
      const result = await bench.run(check);
      // Broken off, it has no verdict.
      options.signal?.throwIfAborted();
      results.push(result);
      options.onResult?.(result, results.length, wanted.length);
      yield result;
    }
  } finally {
    await bench.end();
  }
  const server = options.server ?? (typeof target === 'string' ? target : 'a server');
  return reportOf({ server, dialect: bench.dialect, msize: bench.msize, started, results });
}

/** The checks that a run makes. */
export function selected(dialect: Dialect, { groups, checks }: InteropOptions = {}): Check[] {
  return allChecks.filter(
    (check) =>
      check.dialects.includes(dialect) &&
      (groups === undefined || groups.includes(check.group)) &&
      (checks === undefined || checks.some((one) => one === check.id || (one.endsWith('*') && check.id.startsWith(one.slice(0, -1))))),
  );
}

/** A server under test: the connection that is in use, and the scratch directory. */
class Bench implements Ground {
  readonly attach: Attach;
  readonly gid: number;
  readonly patience: number;
  readonly #dial: () => Promise<Transport>;
  readonly #options: InteropOptions;
  readonly #timeout: number;
  readonly #asked: Dialect | undefined;
  readonly #above: readonly string[];
  readonly #scratch = `.ninep-interop-${randomBytes(4).toString('hex')}`;
  /** Undefined once only the tidying up is left, which is not broken off. */
  #signal: AbortSignal | undefined;
  #scratchProblem: string | undefined;
  /** Its Tmkdir was sent: it may be there, whatever came back. */
  #scratchAsked = false;
  #wire: Wire | undefined;
  #number = 0;
  /** It could not be reached for a while, so nobody waits for it any more. */
  #gone = false;
  /** A request was not answered. */
  #stuck = false;
  #hopeless: Error | undefined;
  dialect: Dialect = VERSION_L;
  /** As Rversion gave it at first. */
  msize = MSIZE;

  constructor(target: Target, options: InteropOptions) {
    const address = typeof target === 'string' ? parseAddress(target) : undefined;
    this.#dial = typeof target === 'string' ? () => dial(parseAddress(target), { ...options.dial, signal: this.#signal }) : target;
    this.#options = options;
    this.#signal = options.signal;
    this.#asked = options.dialect ?? (address && dialectOf(address));
    // A timer of more milliseconds is over at once.
    this.#timeout = Math.min(options.timeout ?? 30_000, FOR_EVER) || FOR_EVER;
    this.#above = options.directory ?? [];
    this.patience = options.patience ?? 5_000;
    this.gid = options.gid ?? process.getgid?.() ?? 0;
    this.attach = {
      aname: options.aname ?? address?.aname ?? '',
      uname: options.uname ?? address?.uname ?? '',
      uid: options.uid ?? address?.uid ?? process.getuid?.() ?? NONUNAME,
    };
  }

  get #asking(): number {
    return this.#options.msize ?? MSIZE;
  }

  /** The first connection: finds out the dialect and makes the scratch directory. */
  async begin(): Promise<void> {
    this.#wire = await this.#first();
    const trial = new Trial(this, this.#wire, new Place([], ''));
    await this.#answered(trial, async () => {
      try {
        const above = await walkFar(trial, this.#above);
        this.#scratchAsked = true;
        await above.mkdir(this.#scratch, 0o755);
      } catch (error) {
        this.#scratchProblem = judge(error).saw ?? String(error);
      }
      await trial.end();
    });
  }

  /** Has `work` done within the time that a check may take; else it failed for want of the answer that was asked for first. */
  #answered(trial: Trial, work: () => Promise<void>): Promise<void> {
    return this.#bounded(trial, this.#timeout, () => `no answer to ${first(trial)}`, work);
  }

  /** Gives a trial up, so that nothing of it waits any longer, when it has taken so many milliseconds or is not wanted any more. */
  async #bounded(trial: Trial, milliseconds: number, what: () => string, work: () => Promise<void>): Promise<void> {
    const timer = setTimeout(() => {
      this.#stuck = true;
      trial.giveUp(new Deviation(what()));
    }, milliseconds);
    const signal = this.#signal;
    const aborted = () => trial.giveUp(new Error('aborted'));
    signal?.addEventListener('abort', aborted, { once: true });
    if (signal?.aborted) aborted();
    try {
      await work();
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', aborted);
    }
  }

  async #first(): Promise<Wire> {
    for (const dialect of this.#asked === undefined ? [VERSION_L, VERSION_U, VERSION_LEGACY] : [this.#asked]) {
      this.dialect = dialect as Dialect;
      const wire = await this.dial();
      try {
        const { version, msize } = await this.#limited(wire, wire.version(this.#asking, dialect));
        if (version === dialect) {
          this.msize = msize;
          return wire;
        }
      } catch (error) {
        wire.destroy();
        if (!(error instanceof ErrnoError)) throw error;
      }
      wire.destroy();
    }
    throw new ErrnoError('EPROTONOSUPPORT', { syscall: 'Tversion', path: this.#asked ?? 'any dialect' });
  }

  async dial(): Promise<Wire> {
    return new Wire(await this.#dial(), this.dialect);
  }

  async connect(msize = this.#asking): Promise<Wire> {
    const wire = await this.dial();
    try {
      const { version } = await this.#limited(wire, wire.version(msize, this.dialect));
      if (version !== this.dialect) throw new Deviation(`Tversion answered ${version} where it had answered ${this.dialect}`);
      return wire;
    } catch (error) {
      wire.destroy();
      throw error;
    }
  }

  async #limited<T>(wire: Wire, promise: Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.#stuck = true;
      wire.destroy(new Deviation('no answer to Tversion'));
    }, this.#timeout);
    const signal = this.#signal;
    const aborted = () => wire.destroy(new Error('aborted'));
    signal?.addEventListener('abort', aborted, { once: true });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', aborted);
    }
  }

  /** A connection in its first state: the one there is, if that can be had. */
  async #ready(): Promise<Wire> {
    if (this.#hopeless !== undefined) throw this.#hopeless;
    if (this.#stuck) await this.#unstick();
    const wire = this.#wire;
    if (wire !== undefined && wire.lost === undefined) {
      if (!wire.dirty) return wire;
      try {
        const { version, msize } = await this.#limited(wire, wire.version(this.#asking, this.dialect));
        wire.dirty = false;
        if (version === this.dialect && msize === this.msize) return wire;
      } catch {
        // Another connection will do.
      }
      wire.destroy();
    }
    // Whoever looks after the server may need a moment to start it again.
    for (let tries = 1; ; tries++) {
      try {
        this.#wire = await this.connect();
        this.#gone = false;
        return this.#wire;
      } catch (error) {
        if (tries === 5 || this.#gone) {
          this.#gone = true;
          throw error;
        }
        await delay(tries * 100, undefined, { signal: this.#signal });
      }
    }
  }

  /** A request has gone unanswered: begins anew, if the server still answers anybody. */
  async #unstick(): Promise<void> {
    this.#stuck = false;
    this.#wire?.destroy();
    await this.#options.restart?.();
    const wire = await this.connect();
    const timer = setTimeout(() => wire.destroy(new Deviation('the server has stopped to answer')), this.patience);
    try {
      const { uname, aname, uid } = this.attach;
      await wire.request('Tattach', { fid: wire.newFid(), afid: NOFID, uname, aname, nUname: uid });
      wire.dirty = true;
    } catch (error) {
      this.#hopeless = error instanceof Error ? error : new Error(String(error));
      throw this.#hopeless;
    } finally {
      clearTimeout(timer);
    }
    this.#wire = wire;
  }

  async run(check: Check): Promise<Result> {
    const started = performance.now();
    const verdict = await this.#verdict(check);
    const { id, group, rule, source } = check;
    const milliseconds = Math.round(performance.now() - started);
    if (check.discreet && verdict.outcome === 'deviates') delete verdict.saw;
    else if (verdict.saw !== undefined) verdict.saw = inOneLine(verdict.saw);
    return { id, group, rule, source, ...verdict, milliseconds };
  }

  async #verdict(check: Check): Promise<Verdict> {
    let wire: Wire;
    try {
      wire = await this.#ready();
    } catch (error) {
      return { outcome: 'error', saw: `no connection: ${error instanceof Error ? error.message : String(error)}` };
    }
    wire.begin();
    const place = new Place([...this.#above, this.#scratch], `c${++this.#number}`, this.#scratchProblem);
    const trial = new Trial(this, wire, place);
    let verdict: Verdict = { outcome: 'pass' };
    this.#options.watch?.begin(check);
    await this.#answered(trial, async () => {
      try {
        await check.run(trial);
        const [stray] = trial.strays;
        if (stray !== undefined) verdict = { outcome: 'deviates', saw: stray };
      } catch (error) {
        verdict = judge(error);
        // A check that does several things at once may have failed in the midst of them: none of that is to go on beside the next one.
        if (trial.unanswered.length > 0) trial.giveUp(new Error('the check has failed'));
      }
    });
    this.#options.watch?.end(check);
    await this.#tidy(trial, place);
    return verdict;
  }

  /** Leaves the server as it was; what cannot be removed goes with the scratch directory, or stays. */
  async #tidy(trial: Trial, place: Place): Promise<void> {
    await this.#bounded(
      trial,
      this.patience,
      () => 'no answer to Tclunk',
      () => trial.end(),
    );
    if (place.made) await this.#removing((remover) => place.remove(remover));
  }

  async #removing(work: (trial: Trial) => Promise<void>): Promise<void> {
    let trial: Trial;
    try {
      trial = new Trial(this, await this.#ready(), new Place([], ''));
    } catch {
      return;
    }
    await this.#bounded(
      trial,
      this.#timeout,
      () => 'no answer while tidying up',
      async () => {
        // The next check has a directory of its own; what is left here is not its business.
        await work(trial).catch(() => undefined);
        await trial.end();
      },
    );
  }

  async end(): Promise<void> {
    this.#signal = undefined;
    if (this.#wire === undefined) return;
    if (this.#scratchAsked) {
      await this.#removing(async (trial) => removeTree(await walkFar(trial, this.#above), this.#scratch));
    }
    this.#wire?.destroy();
  }
}

/** What a trial waits for, of all that it has asked. */
function first(trial: Trial): string {
  return trial.unanswered[0] ?? 'the last request';
}
