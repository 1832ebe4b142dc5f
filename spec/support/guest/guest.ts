import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { freePort, launch, type ServerProcess } from '../launcher.js';
import { qemuBinary } from '../servers/qemu.js';
import { TemporaryDirectory } from '../temporary.js';
import { baseLayer, fileLayer, type GuestFile, programLayer } from './image.js';
import { kernel } from './kernel.js';

export interface GuestOptions {
  /** What the guest runs, with `sh -eu`. When it ends the guest powers off; its exit code is the guest's. */
  script?: string;
  /** In place of a script: scripts by name, each run (in a shell of its own) when {@link Guest.step} asks for it. */
  steps?: Readonly<Record<string, string>>;
  /** Files for the guest by their paths there. */
  files?: Readonly<Record<string, GuestFile>>;
  /** Programs of this host, with their shared libraries, for the guest's /bin: `diod`, `node`. */
  programs?: readonly string[];
  /** Ports of the guest to be reached from the host: see {@link Guest.port}. The guest reaches the host's 127.0.0.1 as 10.0.2.2. */
  forward?: readonly number[];
  /** Virtio-serial ports by name: `/dev/virtio-ports/NAME` in the guest, {@link Guest.serial} on the host. */
  serial?: readonly string[];
  /** More words for the kernel's command line. */
  append?: string;
  /** More arguments for QEMU. */
  args?: readonly string[];
  /** MiB. */
  memory?: number;
  /** Runs the script as process 1, for scripts that go over to another root. */
  pid1?: boolean;
  /** Lets the guest boot anew when it reboots; otherwise a reboot ends it. */
  reboot?: boolean;
}

/** Runs steps as they are asked for. */
const STEPS = `
echo ready
while read -r name id; do
  code=0
  printf '<<step %s begins>>\\n' "$id"
  sh -eu "/test/steps/$name" < /dev/null || code=$?
  printf '\\n<<step %s exits %s>>\\n' "$id" "$code"
done`;

/** How a guest's script ended. */
export interface GuestResult {
  code: number;
  /** What the script wrote, both streams, without the marker at its end. */
  output: string;
}

/** A real Linux that runs under emulation, and ends with its test. */
export class Guest implements AsyncDisposable {
  /** QEMU. What the script writes is its stdout; what is written to its stdin, the script reads. */
  readonly process: ServerProcess;
  /** As `uname -r` in the guest says. */
  readonly release: string;
  readonly #directory: TemporaryDirectory;
  readonly #ports: ReadonlyMap<number, number>;
  #steps = 0;

  constructor(process: ServerProcess, release: string, directory: TemporaryDirectory, ports: ReadonlyMap<number, number>) {
    this.process = process;
    this.release = release;
    this.#directory = directory;
    this.#ports = ports;
  }

  /** The port of 127.0.0.1 that is forwarded to this port of the guest. */
  port(inside: number): number {
    const outside = this.#ports.get(inside);
    if (outside === undefined) throw new RangeError(`port ${inside} is not forwarded`);
    return outside;
  }

  /** The unix socket that is the host's end of this virtio-serial port. */
  serial(name: string): string {
    return this.#directory.join(name);
  }

  /** What the script has written so far. */
  get output(): string {
    return this.process.stdout;
  }

  /** What the kernel and init wrote on the console. */
  get console(): string {
    const path = this.#directory.join('console');
    return existsSync(path) ? readFileSync(path, 'latin1') : '';
  }

  /** Types something to the script. Wait first until it has said something: before, nobody listens. */
  type(text: string): void {
    this.process.child.stdin?.write(text);
  }

  /** Gives QEMU a command (`system_reset`, `stop`, `cont`, …) and resolves with its answer (QEMU's QMP reference manual). */
  control(command: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.#directory.join('qmp'));
      let text = '';
      const end = (finish: () => void): void => {
        socket.destroy();
        finish();
      };
      socket.once('error', (error) => end(() => reject(error)));
      socket.once('close', () => reject(this.#failure(`QEMU hung up on ${command}`)));
      socket.on('data', (bytes) => {
        text += bytes.toString();
        // A greeting, the answer to qmp_capabilities, the answer to the command; events may come between.
        const answers = text.split('\n').filter((line) => /"(return|error)"/.test(line));
        if (answers[1] !== undefined) end(() => resolve(answers[1] ?? ''));
      });
      socket.write(`{"execute":"qmp_capabilities"}\n{"execute":"${command}"}\n`);
    });
  }

  /** Waits until the script has written something. */
  async said(pattern: RegExp, timeout = 120_000): Promise<RegExpExecArray> {
    try {
      return await this.process.output(pattern, { from: 'stdout', timeout });
    } catch (error) {
      throw this.#failure(`did not say ${pattern}`, error);
    }
  }

  /** Runs one of the guest's `steps` and resolves with what it wrote; rejects unless it exits with 0. */
  async step(name: string, timeout = 180_000): Promise<string> {
    if (this.#steps === 0) await this.said(/^ready\n/m);
    const id = ++this.#steps;
    this.type(`${name} ${id}\n`);
    const [end, code] = await this.said(new RegExp(`\\n<<step ${id} exits (\\d+)>>\\n`), timeout);
    if (code !== '0') throw this.#failure(`step ${name} exited with ${code}`);
    const [begin, text] = [`<<step ${id} begins>>\n`, this.output];
    const from = text.lastIndexOf(begin);
    // Of very much output the beginning is not kept.
    const output = text.slice(from === -1 ? 0 : from + begin.length, text.lastIndexOf(end));
    return output;
  }

  /** Waits for the script's end and the power-off. Rejects when the guest ends in another way. */
  async done(timeout = 180_000): Promise<GuestResult> {
    const [text, code] = await this.said(/\n<<ninep guest exit (\d+)>>/, timeout);
    const { code: qemu } = await this.process.exited;
    if (qemu !== 0) throw this.#failure(`powered off, but QEMU exited with ${qemu}`);
    return { code: Number(code), output: this.output.slice(0, this.output.lastIndexOf(text)) };
  }

  /** {@link done}, and an error with all that was said unless the script exited with 0. */
  async succeeded(timeout?: number): Promise<string> {
    const { code, output } = await this.done(timeout);
    if (code !== 0) throw this.#failure(`script exited with ${code}`);
    return output;
  }

  /** Ends it as a power failure would. Idempotent. */
  async kill(): Promise<void> {
    await this.process.stop();
    this.#directory.remove();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #failure(what: string, cause?: unknown): Error {
    const { output, console } = this;
    return new Error(`guest: ${what}\n--- script\n${output}\n--- console\n${console.slice(-4000)}\n--- qemu\n${this.process.stderr}`, {
      cause,
    });
  }
}

/** Boots Debian's kernel with a small system in memory, which runs a script. Resolves once QEMU runs; see {@link Guest.said} and {@link Guest.done}. */
export async function bootGuest(options: GuestOptions): Promise<Guest> {
  const directory = new TemporaryDirectory('guest');
  const image = await kernel();
  const layers = [
    await baseLayer(image),
    ...(options.programs?.length ? [await programLayer(options.programs)] : []),
    await fileLayer({ ...options.files, ...stepFiles(options), '/test/script': options.script ?? STEPS }),
  ];
  writeFileSync(directory.join('initrd'), Buffer.concat(layers));
  // A port found free may be taken before QEMU binds it: then QEMU ends at once, and other ports are tried.
  for (let tries = 1; ; tries++) {
    const ports = new Map<number, number>();
    for (const inside of options.forward ?? []) ports.set(inside, await freePort());
    const process = await launch({
      command: qemuBinary(),
      args: qemuArguments(options, image.image, directory, ports),
      ready: 'spawned',
      stdio: ['pipe', 'pipe', 'pipe'],
      stopSignal: 'SIGKILL',
    });
    const guest = new Guest(process, image.release, directory, ports);
    // The guest hears nothing before init listens; whoever types to one that has ended learns it from `done`.
    process.child.stdin?.on('error', () => {});
    if (await started(guest)) return guest;
    if (tries === 3) throw process.failure('does not start');
  }
}

function stepFiles({ steps = {} }: GuestOptions): Record<string, GuestFile> {
  return Object.fromEntries(Object.entries(steps).map(([name, script]) => [`/test/steps/${name}`, script]));
}

/** Waits until QEMU answers on its control socket, which it does once every device and forward is there. */
async function started(guest: Guest): Promise<boolean> {
  while (!guest.process.ended) {
    try {
      await guest.control('query-status');
      return true;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  return false;
}

function qemuArguments(options: GuestOptions, image: string, directory: TemporaryDirectory, ports: ReadonlyMap<number, number>): string[] {
  const { memory = 512, append = '', serial = [], args = [] } = options;
  const forwards = [...ports].map(([inside, outside]) => `,hostfwd=tcp:127.0.0.1:${outside}-:${inside}`).join('');
  const words = ['console=ttyS0', 'quiet', 'panic=-1', 'random.trust_cpu=on', 'mitigations=off', options.pid1 ? 'ninep.pid1' : '', append];
  return [
    // KVM hangs on machines like CI's; the emulator is slow and sure, and a fifth level of page tables only makes it slower.
    ...['-machine', 'q35', '-accel', 'tcg', '-cpu', 'max,la57=off', '-smp', '1', '-m', String(memory), '-nodefaults', '-display', 'none'],
    ...(options.reboot ? [] : ['-no-reboot']),
    ...['-kernel', image, '-initrd', directory.join('initrd'), '-append', words.filter((word) => word !== '').join(' ')],
    ...['-chardev', `file,id=console,path=${directory.join('console')}`, '-serial', 'chardev:console', '-serial', 'stdio'],
    ...['-nic', `user,model=virtio-net-pci${forwards}`],
    ...['-device', 'virtio-rng-pci', '-device', 'virtio-serial-pci'],
    ...serial.flatMap((name, index) => [
      ...['-chardev', `socket,id=port${index},path=${directory.join(name)},server=on,wait=off`],
      ...['-device', `virtserialport,chardev=port${index},name=${name}`],
    ]),
    ...args,
    ...['-qmp', `unix:${directory.join('qmp')},server=on,wait=off`],
  ];
}
