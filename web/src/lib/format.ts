/** Formats numbers for reading: few digits, a unit, and no more precision than the estimate has. */

/** `0.8 s`, `12 s`, `4.5 min`, `1 h 20 min`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return '–';
  if (seconds < 9.95) return `${trim(seconds, seconds < 0.095 ? 2 : 1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const minutes = seconds / 60;
  if (minutes < 9.95) return `${trim(minutes, 1)} min`;
  if (minutes < 59.5) return `${Math.round(minutes)} min`;
  const hours = Math.floor(Math.round(minutes) / 60);
  const rest = Math.round(minutes) % 60;
  return rest === 0 ? `${hours} h` : `${hours} h ${rest} min`;
}

/** Formats minutes, the unit of some API fields. */
export const minutes = (value: number): string => duration(value * 60);

/** `2–5 s`; a single value when both ends format the same. */
export function durationRange(fromS: number, toS: number): string {
  const [from, to] = [duration(fromS), duration(toS)];
  if (from === to) return from;
  const [fromNumber, fromUnit] = split(from);
  const [, toUnit] = split(to);
  return fromUnit === toUnit ? `${fromNumber}–${to}` : `${from} – ${to}`;
}

function split(text: string): [string, string] {
  const at = text.indexOf(' ');
  return [text.slice(0, at), text.slice(at + 1)];
}

/** `1.5`, `12`: at most `digits` decimals and no trailing zeros. */
export const trim = (value: number, digits: number): string => String(Number(value.toFixed(digits)));

/** `$0.22`, `$0.0003`, `$1,240`: two significant digits. */
export function usd(value: number): string {
  const sign = value < 0 ? '-' : '';
  const amount = Math.abs(value);
  if (amount === 0) return '$0';
  if (amount < 0.00001) return `${sign}<$0.00001`;
  if (amount < 0.1) return `${sign}$${Number(amount.toPrecision(2)).toFixed(1 - Math.floor(Math.log10(amount)))}`;
  if (amount < 100) return `${sign}$${amount.toFixed(2)}`;
  return `${sign}$${Math.round(amount).toLocaleString('en-US')}`;
}

/** `1,234`. */
export const count = (value: number): string => Math.round(value).toLocaleString('en-US');

/** `37.5 %`. */
export const percent = (value: number): string => `${trim(value, 1)} %`;

/** `4.2 MB`. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let rest = value;
  let unit = 0;
  while (rest >= 1000 && unit < units.length - 1) {
    rest /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? rest : trim(rest, rest < 10 ? 1 : 0)} ${units[unit]}`;
}

const AGES: [number, string][] = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'min'],
];

/** `just now`, `3 min ago`, `2 d ago`. */
export function ago(iso: string, nowMs: number): string {
  const seconds = Math.max(0, (nowMs - Date.parse(iso)) / 1000);
  for (const [size, unit] of AGES) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return 'just now';
}

/** `very_complex` as words. */
export const words = (text: string): string => text.replaceAll('_', ' ');

/** Capitalises the first letter. */
export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
