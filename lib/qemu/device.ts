import type { Qtest } from './qtest.js';
import type { Queue } from './queue.js';

/** virtio over MMIO (virtio 1.0, 4.2.2): registers of a device's window. */
const MAGIC_VALUE = 0x000;
const VERSION = 0x004;
const DEVICE_ID = 0x008;
const DEVICE_FEATURES = 0x010;
const DEVICE_FEATURES_SEL = 0x014;
const DRIVER_FEATURES = 0x020;
const DRIVER_FEATURES_SEL = 0x024;
const QUEUE_SEL = 0x030;
const QUEUE_NUM_MAX = 0x034;
const QUEUE_NUM = 0x038;
const QUEUE_READY = 0x044;
const QUEUE_NOTIFY = 0x050;
const INTERRUPT_ACK = 0x064;
const STATUS = 0x070;
const QUEUE_DESC_LOW = 0x080;
const QUEUE_DRIVER_LOW = 0x090;
const QUEUE_DEVICE_LOW = 0x0a0;

const MAGIC = 0x74726976;
const MODERN = 2;
const ID_9P = 9;

/** Device status bits (2.1). */
const ACKNOWLEDGE = 1;
const DRIVER = 2;
const DRIVER_OK = 4;
const FEATURES_OK = 8;
const NEEDS_RESET = 0x40;

/** Feature bits: the mount tag is there; the device is of virtio 1.0. */
const MOUNT_TAG = 1 << 0;
const VERSION_1 = 1 << 0; // bit 32, so bit 0 of the second word

/** microvm's windows. */
const WINDOWS = 0xfeb00000;
const WINDOW = 0x200;
const SLOTS = 8;

/** Bits of the interrupt status. */
const USED_BUFFER = 1;
const CONFIGURATION = 2;

/** Commands that are given over and over, made once. */
export interface Commands {
  /** There are new requests. */
  notify: Uint8Array;
  /** The replies have been seen: lowers the interrupt, unless there is something else to tell. */
  acknowledge: Uint8Array;
  acknowledgeThenNotify: Uint8Array;
}

/** QEMU's virtio-9p device behind its registers. */
export class Device {
  readonly #qtest: Qtest;
  readonly #base: number;
  readonly commands: Commands;

  private constructor(qtest: Qtest, slot: number) {
    this.#qtest = qtest;
    this.#base = WINDOWS + slot * WINDOW;
    const notify = this.#command(QUEUE_NOTIFY, 0);
    const acknowledge = this.#command(INTERRUPT_ACK, USED_BUFFER);
    this.commands = { notify, acknowledge, acknowledgeThenNotify: Buffer.concat([acknowledge, notify]) };
  }

  /** Looks for it, from the last window on: that is where the first device goes. */
  static async find(qtest: Qtest): Promise<Device> {
    for (let slot = SLOTS - 1; slot >= 0; slot--) {
      const device = new Device(qtest, slot);
      if ((await device.#read(MAGIC_VALUE)) === MAGIC && (await device.#read(DEVICE_ID)) === ID_9P) {
        const version = await device.#read(VERSION);
        if (version !== MODERN) throw new Error(`the virtio device is of version ${version}, not ${MODERN}`);
        return device;
      }
    }
    throw new Error('no virtio-9p device');
  }

  /** Negotiates, hands over the queue, and has its interrupts reported. */
  async start(queue: Queue): Promise<void> {
    await this.#qtest.ask('irq_intercept_in ioapic');
    await this.#write(STATUS, 0);
    await this.#write(STATUS, ACKNOWLEDGE | DRIVER);
    await this.#accept(0, MOUNT_TAG);
    await this.#accept(1, VERSION_1);
    await this.#write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    if (((await this.#read(STATUS)) & FEATURES_OK) === 0) throw new Error('the virtio device refuses the features');
    await this.#write(QUEUE_SEL, 0);
    const max = await this.#read(QUEUE_NUM_MAX);
    if (max < queue.entries) throw new Error(`the virtio device's queue holds ${max} descriptors, not ${queue.entries}`);
    await this.#write(QUEUE_NUM, queue.entries);
    await this.#write(QUEUE_DESC_LOW, queue.descriptors);
    await this.#write(QUEUE_DRIVER_LOW, queue.available);
    await this.#write(QUEUE_DEVICE_LOW, queue.used);
    await this.#write(QUEUE_READY, 1);
    await this.#write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  }

  /** Whether it has stopped for good: a frame that made no sense to it does that. Any other change of its configuration is acknowledged. */
  async failed(): Promise<boolean> {
    if (((await this.#read(STATUS)) & NEEDS_RESET) !== 0) return true;
    await this.#write(INTERRUPT_ACK, CONFIGURATION);
    return false;
  }

  async #accept(word: number, features: number): Promise<void> {
    await this.#write(DEVICE_FEATURES_SEL, word);
    const offered = await this.#read(DEVICE_FEATURES);
    if ((offered & features) !== features) throw new Error(`the virtio device lacks features: word ${word} is ${offered.toString(16)}`);
    await this.#write(DRIVER_FEATURES_SEL, word);
    await this.#write(DRIVER_FEATURES, features);
  }

  #command(register: number, value: number): Uint8Array {
    return Buffer.from(`writel 0x${(this.#base + register).toString(16)} 0x${value.toString(16)}\n`);
  }

  #read(register: number): Promise<number> {
    return this.#qtest.read32(this.#base + register);
  }

  #write(register: number, value: number): Promise<void> {
    return this.#qtest.write32(this.#base + register, value);
  }
}
