/** Builds dist/ninep.mjs, all of the command line in one file, and copies koffi's library beside it: Node and these two are enough for a guest. */
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const [to = join(root, 'dist'), libc = 'linux'] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

mkdirSync(to, { recursive: true });
await build({
  entryPoints: [join(root, 'cli/main.ts')],
  outfile: join(to, 'ninep.mjs'),
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  minifySyntax: true,
  logLevel: 'warning',
  external: ['fuse-native'],
  define: { NINEP_VERSION: JSON.stringify(version) },
  // What is CommonJS in it asks for Node's own modules.
  banner: { js: "import { createRequire as ninepRequire } from 'node:module'; const require = ninepRequire(import.meta.url);" },
});

const folder = dirname(require.resolve(`@koromix/koffi-${process.platform}-${process.arch}/package.json`));
const library = [
  join(folder, `${libc}_${process.arch}`, 'koffi.node'),
  join(folder, `${process.platform}_${process.arch}`, 'koffi.node'),
].find((path) => existsSync(path));
if (library === undefined) throw new Error(`koffi has no library for ${process.platform} ${process.arch}`);
copyFileSync(library, join(to, 'koffi.node'));
