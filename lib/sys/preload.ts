import { lazy, native } from './libc.js';

const loaded = lazy(() => new Map<string, unknown>());

/** Loads a shared library for good, so that a native module which needs it by its own name (DT_SONAME) finds it, wherever it lies. */
export function preload(file: string): void {
  if (!loaded().has(file)) loaded().set(file, native().load(file));
}
