import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { BusyPolling, Schedstat, type Scheduled } from '../../lib/sys/busy.js';

const MS = 1e6;
const WINDOW = 0.2;

/** A thread that runs all the time, beside others that need `share` of as much. */
class Machine {
  now = 1000;
  share = 0;
  looks = 0;
  readonly #scheduled: Scheduled = { ran: 0, others: 0 };
  readonly polling = new BusyPolling(WINDOW, () => {
    this.looks++;
    return { ...this.#scheduled };
  });

  pass(ms: number): void {
    this.now += ms;
    this.#scheduled.ran += ms * MS;
    this.#scheduled.others += ms * MS * this.share;
  }

  /** Events, each `gap` ms after the one before; whether it is asked again right behind the last. */
  events(count: number, gap: number): boolean {
    for (let index = 0; index < count; index++) {
      this.pass(gap);
      this.polling.event(this.now);
    }
    return this.polling.again(this.now);
  }
}

test('it is asked again as soon as events follow one another, and for the window after the last', () => {
  const machine = new Machine();
  expect(machine.events(1, 0)).toBe(false);
  expect(machine.events(3, 0.1)).toBe(false);
  expect(machine.events(1, 0.1)).toBe(true);
  machine.pass(WINDOW - 0.01);
  expect(machine.polling.again(machine.now)).toBe(true);
  machine.pass(0.02);
  expect(machine.polling.again(machine.now)).toBe(false);
  expect(machine.polling.turns).toBe(2);
});

test('events that are far from one another are slept between, however many come', () => {
  const machine = new Machine();
  for (let index = 0; index < 100; index++) expect(machine.events(1, 5)).toBe(false);
  // Two together, as one request and its answer are.
  for (let index = 0; index < 100; index++) {
    machine.pass(5);
    expect(machine.events(2, 0.1)).toBe(false);
  }
  expect(machine.polling.turns).toBe(0);
  expect(machine.looks).toBe(0);
});

test('one that is late among many does not end it; a pause does', () => {
  const machine = new Machine();
  expect(machine.events(20, 0.1)).toBe(true);
  expect(machine.events(1, 1)).toBe(true);
  expect(machine.events(1, 1)).toBe(false);
  expect(machine.events(20, 0.1)).toBe(true);
  expect(machine.events(1, 3)).toBe(false);
});

test('where others need the processor it is slept, until they do not', () => {
  const machine = new Machine();
  expect(machine.events(100, 0.1)).toBe(true);
  machine.share = 1;
  expect(machine.events(250, 0.1)).toBe(false);
  machine.share = 0.3;
  expect(machine.events(250, 0.1)).toBe(true);
  machine.share = 1;
  expect(machine.events(250, 0.1)).toBe(false);
  // What was then says nothing of now.
  machine.pass(2000);
  machine.share = 0;
  expect(machine.events(20, 0.1)).toBe(true);
});

test('where the kernel does not tell, it is asked again', () => {
  const polling = new BusyPolling(WINDOW, () => undefined);
  for (let now = 0; now < 100; now += 0.1) polling.event(now);
  expect(polling.again(100)).toBe(true);
});

test.each([2, 4])('what is read of the scheduler is what it tells of this thread, with %d processors', (processors) => {
  const schedstat = new Schedstat(processors);
  const told = () => readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ').map(Number);
  try {
    const [ranBefore = 0, waitedBefore = 0] = told();
    const { ran = 0, others = 0 } = schedstat.read() ?? {};
    const { user, system } = process.cpuUsage();
    const [ranAfter = 0, waitedAfter = 0] = told();
    expect(ran).toBeGreaterThanOrEqual(ranBefore);
    expect(ran).toBeLessThanOrEqual(ranAfter);
    if (processors === 4) {
      expect(others).toBeGreaterThanOrEqual(waitedBefore);
      expect(others).toBeLessThanOrEqual(waitedAfter);
    } else {
      // A process counts in µs.
      expect(others).toBeLessThanOrEqual(waitedAfter + (user + system) * 1000 - ran + 1000);
      expect(others).toBeGreaterThanOrEqual(waitedBefore - 1000);
    }
  } finally {
    schedstat.close();
    schedstat.close();
  }
  expect(schedstat.read()).toBeUndefined();
});
