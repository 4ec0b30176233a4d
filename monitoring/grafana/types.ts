// What the dashboards of this folder may look like: Grafana's own types, with the options of the panels that are used,
// and without the room that Grafana leaves for plugins. Panels are written as literals of these types, so a misspelt key, a
// wrong enum and a missing option do not compile.

import type { Dashboard, GridPos, DataSourceRef, ThresholdsConfig, FieldColor } from '@grafana/schema';
import type { Options as Lines, FieldConfig as LineStyle } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';

/** JSON has no enums: each becomes the literals of its values. */
type Json<T> = T extends string ? `${T}` : T extends number ? (number extends T ? T : T | NumberOf<`${T}`>) : T extends boolean | null | undefined ? T : T extends Array<infer E> ? Json<E>[] : { [K in keyof T]: Json<T[K]> };
type NumberOf<T extends string> = T extends `${infer N extends number}` ? N : never;

/** Queries are Prometheus'; the plugin's own type is not part of the schema package. */
interface Query {
  refId: string;
  datasource: DataSourceRef;
  expr: string;
  legendFormat: string;
  range: boolean;
  instant: boolean;
}

interface Field<Custom> {
  unit: string;
  min?: number;
  max?: number;
  noValue?: string;
  color: FieldColor;
  thresholds: ThresholdsConfig;
  custom?: Custom;
}

interface PanelOf<Type extends string, Options, Custom> {
  id: number;
  type: Type;
  title: string;
  description: string;
  datasource: DataSourceRef;
  gridPos: GridPos;
  fieldConfig: { defaults: Field<Custom>; overrides: never[] };
  options: Options;
  targets: Query[];
}

export type LinesPanel = Json<PanelOf<'timeseries', Lines, LineStyle>>;
export type StatPanel = Json<PanelOf<'stat', Stat, never>>;
export interface Row {
  id: number;
  type: 'row';
  title: string;
  collapsed: boolean;
  panels: never[];
  gridPos: GridPos;
}
export type Board = Json<Required<Pick<Dashboard, 'uid' | 'title' | 'tags' | 'schemaVersion' | 'version' | 'editable' | 'graphTooltip' | 'timezone' | 'refresh' | 'time' | 'links' | 'annotations' | 'templating'>>>;
