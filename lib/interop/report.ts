import type { Dialect } from '../protocol/constants.js';
import { type Group, groupNames } from './check.js';
import type { Outcome } from './outcome.js';

/** What one check found. */
export interface Result {
  id: string;
  group: Group;
  rule: string;
  source: string;
  outcome: Outcome;
  /** What was seen, unless it passed (or the check keeps that to itself). */
  saw?: string;
  milliseconds: number;
}

/** What a run found. Plain data: it may be kept as JSON and be compared. */
export interface Report {
  server: string;
  dialect: Dialect;
  /** As Rversion gave it. */
  msize: number;
  /** ISO 8601. */
  started: string;
  counts: Record<Outcome, number>;
  results: Result[];
}

export function reportOf(parts: { server: string; dialect: Dialect; msize: number; started: Date; results: Result[] }): Report {
  const counts: Record<Outcome, number> = { pass: 0, deviates: 0, unsupported: 0, error: 0 };
  for (const { outcome } of parts.results) counts[outcome]++;
  const { server, dialect, msize, started, results } = parts;
  return { server, dialect, msize, started: started.toISOString(), counts, results };
}

const marks: Record<Outcome, string> = { pass: '✓', deviates: '✗', unsupported: '–', error: '!' };

/** One line for a result, as it is printed while a run goes on. */
export function formatResult({ id, outcome, saw, rule }: Result): string {
  return outcome === 'pass' ? `  ${marks.pass} ${id}` : `  ${marks[outcome]} ${id}: ${rule}${saw === undefined ? '' : `\n      ${saw}`}`;
}

/** For a terminal: by group, what passed in a line, the rest with its rule, what was seen, and where the rule stands. */
export function formatText(report: Report): string {
  const lines = [`${report.server}: ${report.dialect}, msize ${report.msize}`];
  for (const group of groupNames) {
    const results = report.results.filter((result) => result.group === group);
    if (results.length === 0) continue;
    const passed = results.filter(({ outcome }) => outcome === 'pass').length;
    lines.push('', `${group}  ${passed}/${results.length}`);
    for (const { id, outcome, rule, saw, source } of results) {
      if (outcome === 'pass') continue;
      lines.push(`  ${marks[outcome]} ${id}: ${rule} (${source})`);
      if (saw !== undefined) lines.push(`      ${saw}`);
    }
  }
  lines.push('', summary(report), '');
  return lines.join('\n');
}

/** `241 pass, 12 deviate, 8 unsupported, 0 errors`. */
export function summary({ counts }: Report): string {
  return `${counts.pass} pass, ${counts.deviates} deviate, ${counts.unsupported} unsupported, ${counts.error} errors`;
}

/** For programs: the report as it is. */
export function toJSON(reports: Report | readonly Report[]): string {
  return `${JSON.stringify(reports, null, 2)}\n`;
}

/**
 * A matrix, a row for each check and a column for each report; then what each server that deviates was seen to do. Two runs that found the same
 * give the same text.
 */
export function toMarkdown(reports: readonly Report[]): string {
  const lines: string[] = [];
  lines.push('| | server | dialect | msize | pass | deviates | unsupported | error |', '|---|---|---|---:|---:|---:|---:|---:|');
  reports.forEach(({ server, dialect, msize, counts }, index) => {
    lines.push(
      `| ${letter(index)} | ${cell(server)} | ${dialect} | ${msize} | ${counts.pass} | ${counts.deviates} | ${counts.unsupported} | ${counts.error} |`,
    );
  });
  lines.push(
    '',
    `${marks.pass} pass, ${marks.deviates} deviates, ${marks.unsupported} unsupported, ${marks.error} error; empty: the dialect has no such thing.`,
  );
  for (const group of groupNames) {
    const rules = rulesOf(reports, group);
    if (rules.size === 0) continue;
    lines.push('', `## ${group}`, '');
    lines.push(`| check | rule | source |${reports.map((_, index) => ` ${letter(index)} |`).join('')}`);
    lines.push(`|---|---|---|${reports.map(() => ':-:|').join('')}`);
    for (const [id, { rule, source }] of rules) {
      const cells = reports.map((report) => ` ${markOf(report, id)} |`).join('');
      lines.push(`| \`${id}\` | ${cell(rule)} | ${cell(source)} |${cells}`);
    }
  }
  lines.push('', '## What was seen', '');
  for (const { server, dialect, results } of reports) {
    const rest = results.filter(({ outcome, saw }) => outcome !== 'pass' && saw !== undefined);
    if (rest.length === 0) continue;
    lines.push(`**${server}, ${dialect}**`, '');
    for (const { id, outcome, saw } of rest) lines.push(`- ${marks[outcome]} \`${id}\`: ${saw}`);
    lines.push('');
  }
  return `${lines.join('\n').trimEnd()}\n`;
}

function rulesOf(reports: readonly Report[], group: Group): Map<string, Result> {
  const rules = new Map<string, Result>();
  for (const { results } of reports) {
    for (const result of results) if (result.group === group && !rules.has(result.id)) rules.set(result.id, result);
  }
  return rules;
}

function markOf({ results }: Report, id: string): string {
  const result = results.find((one) => one.id === id);
  return result === undefined ? '' : marks[result.outcome];
}

function letter(index: number): string {
  return String.fromCharCode(65 + (index % 26)).repeat(1 + Math.floor(index / 26));
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
