import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** Where koffi is: beside a single-file build its library alone, which is all that is needed of it; otherwise the package. */
export function koffiPath(): string {
  const beside = fileURLToPath(new URL('koffi.node', import.meta.url));
  return existsSync(beside) ? beside : createRequire(import.meta.url).resolve('koffi');
}
