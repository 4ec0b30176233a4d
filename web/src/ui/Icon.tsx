/** The page's icons: 20-unit outlines, drawn in the colour of the text around them. Decorative: the accessible name is in the label. */

const paths = {
  play: 'M6 4.5v11l9-5.5z',
  pause: 'M7 4.5v11m6-11v11',
  download: 'M10 3v9m0 0 3.5-3.5M10 12 6.5 8.5M4 16h12',
  retry: 'M15.5 8A6 6 0 1 0 16 11m0-7v4h-4',
  remix: 'M4 6h3l6 8h3m0 0-2-2m2 2-2 2M4 14h3l1.5-2M11 8l2-2h3m0 0-2-2m2 2-2 2',
  trash: 'M4.5 6h11M8 6V4h4v2m2.5 0-.6 10H6.1L5.5 6M8.5 9v4m3-4v4',
  stop: 'M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM7.8 7.8h4.4v4.4H7.8z',
  close: 'M5.5 5.5l9 9m0-9-9 9',
  dice: 'M4.5 4.5h11v11h-11zM7.5 7.5h.01M12.5 7.5h.01M10 10h.01M7.5 12.5h.01M12.5 12.5h.01',
  search: 'M9 14.5A5.5 5.5 0 1 0 9 3.5a5.5 5.5 0 0 0 0 11zm4-1.5 3.5 3.5',
  sun: 'M10 13.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM10 2v2m0 12v2M2 10h2m12 0h2M4.3 4.3l1.4 1.4m8.6 8.6 1.4 1.4m0-11.4-1.4 1.4m-8.6 8.6-1.4 1.4',
  moon: 'M16 11.6A6.5 6.5 0 0 1 8.4 4 6.5 6.5 0 1 0 16 11.6z',
  bolt: 'M11 2.5 4.5 11.5H9l-.5 6 6.5-9h-4.5z',
  clock: 'M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zm0-11v4l2.5 2',
  check: 'm4.5 10.5 3.5 3.5 7.5-8',
  warn: 'M10 3 2.5 16h15zM10 8v4m0 2.2v.1',
  coins: 'M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zm0-11v8m2-6.2c-.5-.6-1.2-.8-2-.8-1 0-2 .5-2 1.5 0 2 4 1 4 3 0 1-1 1.5-2 1.5-.9 0-1.6-.3-2-.9',
  steps: 'M3.5 15.5h3v-3h3.5v-3.5h3.5V5.5h3',
  layers: 'm10 3 7 3.5-7 3.5-7-3.5zM3 10l7 3.5 7-3.5M3 13.5 10 17l7-3.5',
  info: 'M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zm0-7.5V13m0-6v.1',
  chevron: 'm6 8 4 4 4-4',
  film: 'M3.5 4.5h13v11h-13zM7 4.5v11m6-11v11M3.5 8H7m-3.5 4H7m6-4h3.5M13 12h3.5',
  key: 'M7 13a3 3 0 1 0 0-6 3 3 0 0 0 0 6zm3-3h7m-2.5 0v2.5M14 10',
  expand: 'M12 4h4v4m0-4-5 5M8 16H4v-4m0 4 5-5',
  copy: 'M7.5 7.5h8v8h-8zM12.5 7.5v-3h-8v8h3',
  link: 'M8.5 11.5l3-3M9 6.5l1.5-1.5a3 3 0 0 1 4.5 4.5L13.5 11M11 13.5 9.5 15a3 3 0 0 1-4.5-4.5L6.5 9',
  server: 'M3.5 4.5h13v5h-13zM3.5 10.5h13v5h-13zM6.5 7h.01M6.5 13h.01',
  up: 'M10 16V6m0 0L6 10m4-4 4 4M5 3.5h10',
  out: 'M12 6V4H4v12h8v-2m-4-4h9m0 0-2.5-2.5M17 10l-2.5 2.5',
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, className = 'size-4' }: { name: IconName; className?: string }) {
  const filled = name === 'play';
  return (
    <svg viewBox="0 0 20 20" className={`shrink-0 ${className}`} aria-hidden="true" focusable="false">
      <path
        d={paths[name]}
        fill={filled ? 'currentColor' : 'none'}
        stroke="currentColor"
        strokeWidth={name === 'dice' ? 1.7 : name === 'pause' ? 2.4 : 1.5}
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}
