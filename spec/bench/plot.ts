export interface Series {
  name: string;
  points: [x: number, y: number][];
}

const WIDTH = 720;
const HEIGHT = 400;
const MARGIN = 60;
/** Of a line of the legend, which stands above the frame. */
const LINE = 14;
const COLOURS = ['#1b6ca8', '#c8553d', '#588157', '#7b2d8b'];

/** Lines over two logarithmic axes, as SVG. */
export function plot(title: string, series: readonly Series[]): string {
  const top = 16 + series.length * LINE;
  const all = series.flatMap(({ points }) => points).filter(([x, y]) => x > 0 && y > 0);
  const range = (values: number[]) => [Math.floor(Math.log10(Math.min(...values))), Math.ceil(Math.log10(Math.max(...values)))] as const;
  const [x0, x1] = range(all.map(([x]) => x));
  const [y0, y1] = range(all.map(([, y]) => y));
  const px = (x: number) => MARGIN + ((Math.log10(x) - x0) / Math.max(1, x1 - x0)) * (WIDTH - 2 * MARGIN);
  const py = (y: number) => HEIGHT - MARGIN - ((Math.log10(y) - y0) / Math.max(1, y1 - y0)) * (HEIGHT - MARGIN - top);
  const parts: string[] = [];
  for (let decade = x0; decade <= x1; decade++) {
    const x = px(10 ** decade);
    parts.push(`<line x1="${x}" y1="${top}" x2="${x}" y2="${HEIGHT - MARGIN}" stroke="#ddd"/>`);
    parts.push(`<text x="${x}" y="${HEIGHT - MARGIN + 18}" text-anchor="middle">${(10 ** decade).toLocaleString('en')}</text>`);
  }
  for (let decade = y0; decade <= y1; decade++) {
    const y = py(10 ** decade);
    parts.push(`<line x1="${MARGIN}" y1="${y}" x2="${WIDTH - MARGIN}" y2="${y}" stroke="#ddd"/>`);
    parts.push(`<text x="${MARGIN - 6}" y="${y + 4}" text-anchor="end">${10 ** decade}</text>`);
  }
  for (const [index, { name, points }] of series.entries()) {
    const colour = COLOURS[index % COLOURS.length];
    const line = points.filter(([x, y]) => x > 0 && y > 0).map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`);
    parts.push(`<polyline points="${line.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    parts.push(`<text x="${MARGIN + 8}" y="${16 + index * LINE}" fill="${colour}">${name}</text>`);
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="white"/><title>${title}</title>
${parts.join('\n')}
</svg>
`;
}
