import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from '../build.js';
import { run } from '../child.js';
import { cache } from './kernel.js';

/** The path of fixtures/guest/stress.c, compiled without shared libraries. Needs gcc and libc6-dev. Kept between runs. */
export async function stressProgram(): Promise<string> {
  const source = join(root, 'fixtures', 'guest', 'stress.c');
  const folder = join(cache, 'stress', createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16));
  const program = join(folder, 'stress');
  if (existsSync(program)) return program;
  await mkdir(folder, { recursive: true });
  const partial = `${program}.${process.pid}`;
  await run('gcc', ['-O2', '-Wall', '-Wextra', '-Werror', '-static', '-o', partial, source]);
  await rename(partial, program);
  return program;
}
