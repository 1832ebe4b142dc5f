/** What is compared: a figure of A over the same figure of B, taken in turn, so that a machine whose speed drifts treats both alike. */
export interface Comparison {
  what: string;
  a: string;
  b: string;
  /** Speed of A over speed of B for each pair: over 1, A is faster. */
  ratios: number[];
}

/** One run of something, in seconds. */
export type Timed = () => Promise<number>;

/** Runs A B A B …: `pairs` of them after one of each that is not counted. */
export async function compare(
  what: string,
  a: [name: string, run: Timed],
  b: [name: string, run: Timed],
  pairs: number,
): Promise<Comparison> {
  await a[1]();
  await b[1]();
  const ratios: number[] = [];
  for (let pair = 0; pair < pairs; pair++) {
    const timeA = await a[1]();
    const timeB = await b[1]();
    ratios.push(timeB / timeA);
  }
  return { what, a: a[0], b: b[0], ratios };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((x, y) => x - y);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

/** A table in Markdown: medians of ratios and their spread. */
export function table(comparisons: readonly Comparison[]): string {
  const lines = ['| what | A | B | A/B | spread |', '|---|---|---|---|---|'];
  for (const { what, a, b, ratios } of comparisons) {
    const spread = `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`;
    lines.push(`| ${what} | ${a} | ${b} | ${median(ratios).toFixed(2)} | ${spread} |`);
  }
  return lines.join('\n');
}

/** Seconds that `work` takes. */
export async function seconds(work: () => Promise<unknown> | unknown): Promise<number> {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
}
