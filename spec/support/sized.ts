/**
 * How much of something a test does: what the environment variable says; without it `ci` where nothing may be skipped
 * (NINEP_REQUIRE=all), and `otherwise` where somebody waits for the answer.
 */
export function sized(variable: string, ci: number, otherwise: number): number {
  const said = process.env[variable];
  if (said === undefined || said === '') return inFull(ci, otherwise);
  const size = Number(said);
  if (!(size > 0)) throw new Error(`${variable} must be a number over 0, not ${said}`);
  return size;
}

/** What a test goes through: `ci` where nothing may be skipped, and `otherwise`, the part of it that tells most, where somebody waits. */
export function inFull<T>(ci: T, otherwise: T): T {
  return process.env['NINEP_REQUIRE'] === 'all' ? ci : otherwise;
}
