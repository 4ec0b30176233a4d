/** The path below which a reverse proxy serves the fleet. The API writes it into the page; without one it is empty. */
const meta = typeof document === 'undefined' ? null : document.querySelector<HTMLMetaElement>('meta[name="path-prefix"]');

export const prefix = meta?.content ?? '';

/** The address of a path of the API or of the page. Paths in the API's responses begin at the fleet's own root. */
export const at = (path: string): string => `${prefix}${path}`;
