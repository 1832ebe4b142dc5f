import { readFileSync } from 'node:fs';

/** This package's version. */
export function version(): string {
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
