import { getSystemErrorMap } from 'node:util';
import { expect } from 'vitest';

interface Shape {
  name?: unknown;
  message?: unknown;
  code?: unknown;
  errno?: unknown;
  syscall?: unknown;
  path?: unknown;
  dest?: unknown;
}

/** What a promise rejects with; a failed assertion if it does not. */
export async function rejection(promise: Promise<unknown>): Promise<Shape & Error> {
  try {
    await promise;
  } catch (error) {
    expect(error).toBeInstanceOf(Error);
    return error as Shape & Error;
  }
  throw new Error('resolved, and should have been rejected');
}

/** Asserts that it fails as a system call does in Node: text, code, errno, syscall, path and dest. */
export async function fails(promise: Promise<unknown>, code: string, syscall: string, path?: string, dest?: string): Promise<void> {
  const { name, message, code: has, errno, syscall: call, path: at, dest: to } = await rejection(promise);
  const [number, [, text]] = [...getSystemErrorMap()].find(([, [known]]) => known === code) ?? [0, [code, '?']];
  const where = `${path === undefined ? '' : ` '${path}'`}${dest === undefined ? '' : ` -> '${dest}'`}`;
  expect({ name, message, code: has, errno, syscall: call, path: at, dest: to }).toEqual({
    name: 'Error',
    message: `${code}: ${text}, ${syscall}${where}`,
    code,
    errno: number,
    syscall,
    path,
    dest,
  });
}

/** Asserts that an argument is refused before anything is done. */
export async function refuses(work: () => Promise<unknown>, code: string, kind: new () => Error = TypeError, text?: string): Promise<void> {
  const error = await rejection((async () => work())());
  expect(error).toBeInstanceOf(kind);
  expect(error.code).toBe(code);
  if (text !== undefined) expect(error.message).toBe(text);
}
