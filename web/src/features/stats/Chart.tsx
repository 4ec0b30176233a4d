/**
 * A small chart over time: stacked bars or lines, with a tooltip under the pointer.
 *
 * The same numbers are available as a table, for screen readers and for exact values.
 */
import { type ReactNode, useEffect, useId, useRef, useState } from 'react';
import { runs, type Slot, ticks } from './series';

/** One series of the chart. */
export interface Line {
  name: string;
  /** A colour class that sets `currentColor`. */
  look: string;
  /** Null where there is no value. */
  of: (slot: Slot) => number | null;
}

interface Props {
  title: string;
  hint?: string;
  kind: 'bars' | 'lines';
  slots: Slot[];
  lines: Line[];
  /** Counts: the scale uses whole numbers only. */
  isWhole?: boolean;
  format: (value: number) => string;
  timeFormat: (atMs: number) => string;
  /** Shown when there is no data. */
  empty: string;
}

const HEIGHT = 190;
const EDGE = { top: 8, right: 8, bottom: 22, left: 46 };

export function Chart(props: Props) {
  const { title, hint, slots, lines } = props;
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box);
  const [at, setAt] = useState<number | null>(null);
  const [isTable, setIsTable] = useState(false);
  const heading = useId();
  const isEmpty = !slots.some((slot) => lines.some((line) => (line.of(slot) ?? 0) > 0));
  return (
    <section aria-labelledby={heading} className="card min-w-0 p-4">
      <div className="mb-2 flex flex-wrap items-baseline gap-x-3 gap-y-1">
        <h3 id={heading} className="text-sm font-semibold">
          {title}
        </h3>
        {hint && <p className="hint">{hint}</p>}
        <div className="ml-auto flex gap-3">
          {lines.length > 1 &&
            lines.map(({ name, look }) => (
              <span key={name} className="hint flex items-center gap-1.5">
                <span className={`size-2 rounded-full bg-current ${look}`} />
                {name}
              </span>
            ))}
          <button type="button" className="hint rounded underline underline-offset-2 hover:text-ink" aria-expanded={isTable} onClick={() => setIsTable(!isTable)}>
            {isTable ? 'Chart' : 'Table'}
          </button>
        </div>
      </div>
      <div ref={box} className="relative" style={{ height: HEIGHT }}>
        {isTable ? (
          <Table {...props} />
        ) : isEmpty ? (
          <p className="grid h-full place-items-center rounded-lg bg-raised text-sm text-muted">{props.empty}</p>
        ) : (
          width > 0 && <Drawing {...props} width={width} at={at} setAt={setAt} />
        )}
        {!isTable && !isEmpty && at !== null && <Tooltip {...props} at={at} width={width} />}
      </div>
    </section>
  );
}

function Drawing({ title, kind, slots, lines, isWhole = false, format, timeFormat, width, at, setAt }: Props & { width: number; at: number | null; setAt: (at: number | null) => void }) {
  const inner = { width: width - EDGE.left - EDGE.right, height: HEIGHT - EDGE.top - EDGE.bottom };
  const values = slots.map((slot) => lines.map((line) => line.of(slot)));
  const heights = values.map((each) => (kind === 'bars' ? each.reduce<number>((sum, value) => sum + (value ?? 0), 0) : Math.max(0, ...each.map((value) => value ?? 0))));
  const scale = ticks(Math.max(...heights), isWhole);
  const most = scale.at(-1) ?? 1;
  const x = (index: number) => EDGE.left + ((index + 0.5) * inner.width) / slots.length;
  const y = (value: number) => EDGE.top + inner.height * (1 - value / most);
  const every = Math.max(Math.ceil(slots.length / Math.max(Math.floor(inner.width / 76), 1)), 1);
  return (
    <svg
      width={width}
      height={HEIGHT}
      role="img"
      aria-label={`${title}, chart. Use the Table button for the numbers.`}
      className="block touch-pan-y"
      onPointerMove={(event) => {
        const offset = event.clientX - event.currentTarget.getBoundingClientRect().left - EDGE.left;
        setAt(Math.max(0, Math.min(slots.length - 1, Math.floor((offset / inner.width) * slots.length))));
      }}
      onPointerLeave={() => setAt(null)}
    >
      {scale.map((value) => (
        <g key={value}>
          <line x1={EDGE.left} x2={width - EDGE.right} y1={y(value)} y2={y(value)} className="stroke-line" />
          <text x={EDGE.left - 8} y={y(value) + 4} textAnchor="end" className="num fill-muted text-[11px]">
            {format(value)}
          </text>
        </g>
      ))}
      {slots.map((slot, index) =>
        (slots.length - 1 - index) % every === 0 ? (
          <text key={slot.atMs} x={x(index)} y={HEIGHT - 6} textAnchor={index === slots.length - 1 ? 'end' : 'middle'} dx={index === slots.length - 1 ? inner.width / slots.length / 2 : 0} className="num fill-muted text-[11px]">
            {timeFormat(slot.atMs)}
          </text>
        ) : null,
      )}
      {at !== null && <line x1={x(at)} x2={x(at)} y1={EDGE.top} y2={EDGE.top + inner.height} className="stroke-line-strong" strokeDasharray="3 3" />}
      {kind === 'bars' ? <Bars values={values} lines={lines} x={x} y={y} step={inner.width / slots.length} /> : <Lines values={values} lines={lines} x={x} y={y} />}
    </svg>
  );
}

interface Marks {
  values: (number | null)[][];
  lines: Line[];
  x: (index: number) => number;
  y: (value: number) => number;
}

const BAR_MOST = 28;

function Bars({ values, lines, x, y, step }: Marks & { step: number }): ReactNode {
  const width = Math.max(Math.min(step * 0.7, BAR_MOST), 1);
  return values.map((each, index) => {
    let below = 0;
    return lines.map(({ name, look }, line) => {
      const value = each[line] ?? 0;
      const from = below;
      below += value;
      if (value <= 0) return null;
      const top = y(below);
      // oxlint-disable-next-line react/no-array-index-key -- a bar is identified by its position
      return <rect key={`${name}-${index}`} x={x(index) - width / 2} width={width} y={top} height={Math.max(y(from) - top, 1)} rx={Math.min(2, width / 3)} className={`fill-current ${look}`} />;
    });
  });
}

function Lines({ values, lines, x, y }: Marks): ReactNode {
  return lines.map(({ name, look }, line) =>
    runs(values.map((each) => each[line] ?? null)).map(({ from, values: run }) => {
      const places = run.map((value, index) => `${x(from + index).toFixed(1)},${y(value).toFixed(1)}`);
      return (
        <g key={`${name}-${from}`} className={look}>
          {run.length > 1 && <polyline points={places.join(' ')} fill="none" stroke="currentColor" strokeWidth="2" strokeLinejoin="round" strokeLinecap="round" />}
          {run.length < 40 &&
            run.map((value, index) => (
              // oxlint-disable-next-line react/no-array-index-key -- a dot is identified by its position
              <circle key={index} cx={x(from + index)} cy={y(value)} r={run.length === 1 ? 4 : 2.5} fill="currentColor" />
            ))}
        </g>
      );
    }),
  );
}

/** The values under the pointer. */
function Tooltip({ slots, lines, format, timeFormat, at, width }: Props & { at: number; width: number }) {
  const slot = slots[at];
  if (!slot) return null;
  const x = EDGE.left + ((at + 0.5) * (width - EDGE.left - EDGE.right)) / slots.length;
  const isRight = x > width / 2;
  return (
    <div className="pointer-events-none absolute top-2 z-10 rounded-lg border border-line bg-surface px-2.5 py-1.5 text-xs shadow-float" style={isRight ? { right: width - x + 10 } : { left: x + 10 }}>
      <p className="num font-medium">{timeFormat(slot.atMs)}</p>
      {lines.map((line) => {
        const value = line.of(slot);
        return (
          <p key={line.name} className="num mt-0.5 flex items-center gap-1.5 whitespace-nowrap">
            <span className={`size-2 rounded-full bg-current ${line.look}`} />
            <span className="text-muted">{line.name}</span> {value === null ? '–' : format(value)}
          </p>
        );
      })}
    </div>
  );
}

function Table({ title, slots, lines, format, timeFormat }: Props) {
  const filled = slots.filter((slot) => slot.point || lines.some((line) => line.of(slot))).toReversed();
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrollable region must be reachable by keyboard
    <div tabIndex={0} role="region" aria-label={`${title}, table`} className="h-full overflow-y-auto rounded-lg border border-line">
      <table className="num w-full text-left text-xs">
        <thead className="sticky top-0 bg-raised">
          <tr>
            <th className="px-3 py-1.5 font-medium">Time</th>
            {lines.map(({ name }) => (
              <th key={name} className="px-3 py-1.5 text-right font-medium">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {filled.map((slot) => (
            <tr key={slot.atMs} className="border-t border-line">
              <td className="px-3 py-1">{timeFormat(slot.atMs)}</td>
              {lines.map((line) => {
                const value = line.of(slot);
                return (
                  <td key={line.name} className="px-3 py-1 text-right">
                    {value === null ? '–' : format(value)}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
      {filled.length === 0 && <p className="hint p-3">No data in this period.</p>}
    </div>
  );
}

function useWidth(element: React.RefObject<HTMLElement | null>): number {
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (!element.current) return undefined;
    const observer = new ResizeObserver(([entry]) => entry && setWidth(Math.floor(entry.contentRect.width)));
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [element]);
  return width;
}
