import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import debug from 'debug';
import { close, socketpair } from '../sys/io.js';
import { type Mapping, mapShared, memoryFile } from '../sys/mapping.js';
import { atExit, signalProcess } from '../transport/children.js';
import { TransportError, wrapError } from '../transport/error.js';
import { Tail } from '../transport/tail.js';

const trace = debug('ninep:qemu');
/** Milliseconds from asking QEMU to end to ending it. */
const GRACE = 2000;
/** Descriptors of the child: its memory, the qtest socket, the firmware. */
const [MEMORY, QTEST, FIRMWARE] = [3, 4, 5];
const FIRMWARE_SIZE = 64 * 1024;

export interface MachineOptions {
  /** The program. Default: `QEMU_SYSTEM` of the environment, else `qemu-system-x86_64`. */
  binary?: string | undefined;
  /** What `-fsdev` takes behind its id: `local,path=…,security_model=…`. */
  fsdev: string;
  /** More arguments, for what only QEMU knows of. */
  args?: readonly string[] | undefined;
  /** Guest memory, in bytes: a whole number of MiB. */
  memory: number;
  /** Names it in errors. */
  name: string;
}

/**
 * A QEMU without a guest: its processor halts at the first instruction, its devices are worked by us through the qtest socket, and its
 * memory is a file that both processes have mapped. All three reach it as inherited descriptors, so there is no file to be left behind.
 */
export class Machine {
  readonly pid: number;
  readonly memory: Mapping;
  /** Our end of the qtest socket. Whoever takes it closes it. */
  readonly qtest: number;
  /** Resolves when the process is gone, to how it went: one line. */
  readonly exited: Promise<string>;
  readonly #tail: Tail;
  #running = true;
  #ending: Promise<string> | undefined;

  constructor(child: ChildProcess, pid: number, memory: Mapping, qtest: number, tail: Tail) {
    this.#tail = tail;
    this.pid = pid;
    this.memory = memory;
    this.qtest = qtest;
    const forget = atExit(() => this.signal('SIGKILL'));
    const release = watchdog(pid);
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.#running = false;
        forget();
        release();
        void tail.done.then(() => {
          const how = signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
          resolve([`QEMU ${how}`, ...this.complaints()].join(': '));
        });
      });
    });
  }

  /** The last lines that it wrote to stderr. */
  complaints(): string[] {
    return this.#tail.lines.map((line) => line.replace(/^qemu-system-\w+: /, ''));
  }

  /** To its group: QEMU_SYSTEM may name a script that starts the real one. */
  signal(signal: NodeJS.Signals): void {
    if (this.#running) signalProcess(-this.pid, signal);
  }

  /** Ends QEMU; resolves when it is gone. Its memory reads as zeros after that. Idempotent. */
  end(): Promise<string> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  async #end(): Promise<string> {
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), GRACE);
    const how = await this.exited;
    clearTimeout(timer);
    this.memory.unmap();
    return how;
  }
}

/** Starts it. Rejects if the program is not there; what it says against its options shows when its qtest socket ends. */
export async function startMachine(options: MachineOptions): Promise<Machine> {
  const { name, memory } = options;
  const binary = options.binary ?? (process.env['QEMU_SYSTEM'] || 'qemu-system-x86_64');
  const open: number[] = [];
  let ours = -1;
  let mapping: Mapping | undefined;
  try {
    const ram = memoryFile('ninep-guest', memory);
    open.push(ram);
    const firmware = memoryFile('ninep-firmware', haltingFirmware());
    open.push(firmware);
    const [mine, theirs] = socketpair();
    open.push(theirs);
    ours = mine;
    mapping = mapShared(ram, memory);
    const args = [...machineArguments(memory / 1024 / 1024, options.fsdev), ...(options.args ?? [])];
    trace('%s %o', binary, args);
    // In a process group of its own: a Ctrl-C at the terminal is for us, who end it in good order.
    const child = spawn(binary, args, { stdio: ['ignore', 'ignore', 'pipe', ram, theirs, firmware], detached: true });
    const tail = new Tail(child, (line) => trace('%d: %s', child.pid, line));
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          error.code === 'ENOENT'
            ? new TransportError('ENOENT', 'spawn', name, `${binary} is not installed (Debian: qemu-system-x86; QEMU_SYSTEM names another)`)
            : wrapError(error, 'spawn', name),
        ),
      );
    });
    if (child.pid === undefined) throw new TransportError('ESRCH', 'spawn', name);
    return new Machine(child, child.pid, mapping, ours, tail);
  } catch (error) {
    mapping?.unmap();
    if (ours >= 0) close(ours);
    throw error;
  } finally {
    for (const fd of open) closeSync(fd);
  }
}

/**
 * The smallest machine that has virtio devices. What its clock, timers and interrupt controllers would do only gets in the way;
 * with a single I/O interrupt controller there are eight device slots.
 */
function machineArguments(megabytes: number, fsdev: string): string[] {
  const machine = 'microvm,x-option-roms=off,isa-serial=off,pit=off,rtc=off,ioapic2=off,memory-backend=ram';
  return [
    ...['-machine', machine, '-accel', 'tcg,tb-size=1', '-m', String(megabytes)],
    ...['-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-object', `memory-backend-file,id=ram,size=${megabytes}M,mem-path=/proc/self/fd/${MEMORY},share=on`],
    ...['-bios', `/proc/self/fd/${FIRMWARE}`],
    ...['-chardev', `socket,id=qtest,fd=${QTEST}`, '-qtest', 'chardev:qtest', '-qtest-log', 'none'],
    ...['-global', 'virtio-mmio.force-legacy=false'],
    ...['-fsdev', fsdev, '-device', 'virtio-9p-device,fsdev=export,mount_tag=export'],
  ];
}

/** `cli; hlt; jmp .-1` where the processor begins, 16 bytes before the end; `hlt` everywhere else. */
function haltingFirmware(): Uint8Array {
  const image = new Uint8Array(FIRMWARE_SIZE).fill(0xf4);
  image.set([0xfa, 0xf4, 0xeb, 0xfd], FIRMWARE_SIZE - 16);
  return image;
}

/**
 * A shell that ends QEMU when our end of a pipe closes without a word: the one way to see to it that is left when this process is
 * killed outright. Gives what tells it that QEMU has gone.
 */
function watchdog(pid: number): () => void {
  const shell = spawn('/bin/sh', ['-c', 'read -r word || kill -s KILL -- "-$0"', String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  shell.on('error', (error) => trace('no watchdog: %o', error));
  shell.stdin.on('error', () => {});
  shell.unref();
  return () => shell.stdin.end('done\n');
}
