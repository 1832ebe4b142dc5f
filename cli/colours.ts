// `debug` colours its lines on a terminal and does not know of NO_COLOR (no-color.org); it looks at its own variable when it is loaded.
if (process.env['NO_COLOR']) process.env['DEBUG_COLORS'] ??= 'no';
