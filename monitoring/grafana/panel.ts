// A panel in the few words in which the dashboards differ, and what Grafana makes of them: `types.ts` holds Grafana's types.
import type { LinesPanel, Row, StatPanel } from './types.ts';

/** PromQL and legend. */
export type Query = [expr: string, legend: string];

export interface Options {
  width?: number;
  height?: number;
  stacked?: boolean;
  /** Value from which on a colour holds; the first counts from the smallest. */
  steps?: [number | null, string][];
  highest?: number;
  /** The value may be below 0, as savings may. */
  negative?: boolean;
}

/** A part of a dashboard, which learns its number and place when the dashboard is laid out. */
export interface Item {
  width: number;
  height: number;
  at(id: number, x: number, y: number): LinesPanel | StatPanel | Row;
}

const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };
/** Grafana's grid is 24 columns wide. */
export const COLUMNS = 24;

const common = (title: string, description: string, queries: Query[]) => ({
  title,
  description,
  datasource: DATASOURCE,
  targets: queries.map(([expr, legend], n) => ({
    refId: String.fromCharCode(65 + n), datasource: DATASOURCE, expr, legendFormat: legend || '__auto', range: true, instant: false,
  })),
});

const scale = (unit: string, { steps = [[null, 'green']], highest, negative }: Options) => ({
  unit,
  ...(negative ? {} : { min: 0 }),
  ...(highest === undefined ? {} : { max: highest }),
  thresholds: { mode: 'absolute' as const, steps: steps.map(([value, color]) => ({ value, color })) },
});

/** A headline over the panels that follow. */
export const row = (title: string): Item => ({
  width: COLUMNS,
  height: 1,
  at: (id, x, y) => ({ id, type: 'row', title, collapsed: false, panels: [], gridPos: { x, y, w: COLUMNS, h: 1 } }),
});

/** Curves over time. */
export function lines(title: string, tells: string, unit: string, queries: Query[], options: Options = {}): Item {
  const { width = 8, height = 8, stacked = false } = options;
  return {
    width,
    height,
    at: (id, x, y): LinesPanel => ({
      id,
      type: 'timeseries',
      ...common(title, tells, queries),
      gridPos: { x, y, w: width, h: height },
      fieldConfig: {
        defaults: {
          ...scale(unit, options),
          color: { mode: 'palette-classic' },
          custom: {
            drawStyle: 'line', lineWidth: 1, fillOpacity: stacked ? 20 : 5, showPoints: 'never',
            stacking: { mode: stacked ? 'normal' : 'none', group: 'A' },
          },
        },
        overrides: [],
      },
      options: {
        legend: { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] },
        tooltip: { mode: 'multi', sort: 'desc' },
      },
    }),
  };
}

/** One number. */
export const stat = (title: string, tells: string, unit: string, expr: string, options: Options = {}): Item => ({
  width: 4,
  height: 4,
  at: (id, x, y): StatPanel => ({
    id,
    type: 'stat',
    ...common(title, tells, [[expr, '']]),
    gridPos: { x, y, w: 4, h: 4 },
    fieldConfig: {
      // An idle fleet has no ratios, which is not a fault.
      defaults: { ...scale(unit, options), color: { mode: 'thresholds' }, noValue: '–' },
      overrides: [],
    },
    options: {
      colorMode: 'value', graphMode: 'area', justifyMode: 'auto', orientation: 'auto', textMode: 'auto', wideLayout: true,
      showPercentChange: false, percentChangeColorMode: 'standard',
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
    },
  }),
});

/** Median and 95th percentile of a histogram. */
export function p50p95(histogram: string, by = ''): Query[] {
  const labels = by ? `le, ${by}` : 'le';
  const legend = by ? `{{${by}}} ` : '';
  return [0.5, 0.95].map((q) => [
    `histogram_quantile(${q}, sum by (${labels}) (rate(${histogram}_bucket[$__rate_interval])))`,
    `${legend}p${Math.round(q * 100)}`,
  ]);
}
