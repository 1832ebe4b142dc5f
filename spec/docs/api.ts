import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { root } from '../support/build.js';

const ENTRIES = ['index', 'fuse/index', 'server/index', 'bridge/index', 'qemu/index', 'interop/index', 'protocol/index'] as const;

interface Declaration {
  kind: string;
  name: string;
  doc: string;
}

/** What each public entry exports, with the first sentence of its doc comment: from the sources, so that it cannot go stale. */
export function apiReference(): string {
  const parts = ['Generated from the doc comments (`NINEP_UPDATE=1 npm test -- spec/docs`); the whole text stands at each declaration.'];
  for (const entry of ENTRIES) {
    const file = join(root, 'lib', `${entry}.ts`);
    if (!existsSync(file)) continue;
    const name = entry === 'index' ? 'ninep' : `ninep/${dirname(entry)}`;
    const rows = exportsOf(file)
      .filter(({ kind, doc }) => kind !== 'const' || doc !== '')
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ kind, name: what, doc }) => `| \`${what}\` | ${kind} | ${doc} |`);
    parts.push(`### ${name}\n\n| name | kind | what it is |\n|---|---|---|\n${rows.join('\n')}`);
  }
  return `${parts.join('\n\n')}\n`;
}

/** The declarations that a module exports, its own and those it passes on. */
function exportsOf(file: string): Declaration[] {
  const text = readFileSync(file, 'utf8');
  const found = new Map<string, Declaration>();
  for (const declaration of declarations(text)) found.set(declaration.name, declaration);
  for (const [, list, names = '', from = ''] of text.matchAll(/^export (?:type )?(?:(\*)|\{([^}]*)\}) from '([^']+)';/gm)) {
    const others = exportsOf(resolve(dirname(file), from.replace(/\.js$/, '.ts')));
    const wanted = names
      .split(',')
      .map((name) => name.trim().replace(/^type /, ''))
      .filter((name) => name !== '');
    for (const other of others) {
      if (list === '*') found.set(other.name, other);
      for (const want of wanted) {
        const [original = '', renamed = original] = want.split(' as ');
        if (original === other.name) found.set(renamed, { ...other, name: renamed });
      }
    }
  }
  return [...found.values()];
}

const DECLARATION =
  /(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?export (?:abstract )?(?:async )?(class|interface|type|function|const)\*? ([A-Za-z_$][\w$]*)/g;

function declarations(text: string): Declaration[] {
  return [...text.matchAll(DECLARATION)].map(([, doc = '', kind = '', name = '']) => ({ kind, name, doc: firstSentence(doc) }));
}

/** The first sentence of a doc comment, fit for a cell of a table. */
function firstSentence(comment: string): string {
  const text = comment
    .split('\n')
    .map((line) => line.replace(/^\s*\*? ?/, '').trim())
    .join(' ')
    .trim();
  const [sentence = ''] = text.split(/(?<=[.:])\s/, 1);
  return sentence.replace(/:$/, '.').replaceAll('|', '\\|');
}
