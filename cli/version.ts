import { readFileSync } from 'node:fs';

/** In a single-file build: the version. */
declare const NINEP_VERSION: string | undefined;

/** This package's version. */
export function version(): string {
  if (typeof NINEP_VERSION === 'string') return NINEP_VERSION;
  // From dist/cli as it is installed, or from cli as it is developed.
  for (const path of ['../../package.json', '../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { name: unknown; version: unknown };
      if (name === 'ninep' && typeof version === 'string') return version;
    } catch {
      // The other place.
    }
  }
  return 'unknown';
}
