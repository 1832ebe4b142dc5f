import { declare, lazy } from './libc.js';

/** Serial ports as plain bytes. */
const calls = lazy(() => ({
  tcgetattr: declare<(fd: number, settings: Uint8Array) => number>('int tcgetattr(int, void *)'),
  cfmakeraw: declare<(settings: Uint8Array) => void>('void cfmakeraw(void *)'),
  tcsetattr: declare<(fd: number, when: number, settings: Uint8Array) => number>('int tcsetattr(int, int, const void *)'),
}));

/** Room for any C library's struct termios. */
const TERMIOS = 256;
const TCSANOW = 0;

/** Stops a terminal from echoing, translating and buffering lines. False for what is no terminal. */
export function makeRaw(fd: number): boolean {
  const settings = new Uint8Array(TERMIOS);
  if (calls().tcgetattr(fd, settings) < 0) return false;
  calls().cfmakeraw(settings);
  return calls().tcsetattr(fd, TCSANOW, settings) === 0;
}
