import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Fid } from '../../lib/client/index.js';
import { readToEnd } from '../../lib/fs/content.js';
import { L_O_CREAT, L_O_RDWR } from '../../lib/protocol/index.js';
import { Between } from '../client/between.js';

let between: Between;
let fid: Fid;
beforeEach(async () => {
  between = await Between.open();
  fid = await between.client.root.clone();
  await fid.create('f', L_O_CREAT | L_O_RDWR, 0o644, 0);
});
afterEach(async () => {
  await between[Symbol.asyncDispose]();
});

/** Claims no size, and gives so many bytes, which nobody touches: so they take no memory. */
function endless(bytes: number): void {
  Object.defineProperty(fid, 'iounit', { value: 2 ** 30 });
  vi.spyOn(fid, 'read').mockImplementation(async (buffer, offset) => Math.max(0, Math.min(buffer.length, bytes - offset)));
}

test('a file that claims no size and has more than 2 GiB is refused, not cut', async () => {
  endless(2 ** 32);
  await expect(readToEnd(fid, 0, undefined)).rejects.toMatchObject({ name: 'RangeError', code: 'ERR_FS_FILE_TOO_LARGE' });
});
