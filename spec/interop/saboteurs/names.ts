/** The ids that `each(badNames, …)` and `each(oddNames, …)` make. */
export const bad = ['empty', 'dot', 'dotdot', 'slash', 'nul', 'long'] as const;
export const odd = ['space', 'newline', 'backslash', 'utf8', 'dots', 'dash', 'control', '255', 'bytes'] as const;

/** One saboteur each for a family of checks. They may keep a state, so each is made for itself. */
export function family<T>(prefix: string, ids: readonly string[], make: (id: string) => T): Record<string, T> {
  return Object.fromEntries(ids.map((id) => [`${prefix}${id}`, make(id)]));
}
