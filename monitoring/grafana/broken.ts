// Mistakes that Grafana would accept and draw wrongly. The compiler has to refuse each: were one of them allowed, the
// directive above it would be the error.
import { lines } from './panel.ts';
import type { LinesPanel } from './types.ts';

const panel = lines('title', 'meaning', 's', [['up', '']]).at(1, 0, 0) as LinesPanel;
// @ts-expect-error -- a misspelt key
export const misspelt: LinesPanel = { ...panel, titel: 'title' };
// @ts-expect-error -- a mode that does not exist
export const wrongMode: LinesPanel = { ...panel, options: { ...panel.options, tooltip: { mode: 'many', sort: 'desc' } } };
// @ts-expect-error -- a style that does not exist
export const wrongStyle: LinesPanel['fieldConfig']['defaults']['custom'] = { drawStyle: 'lines' };
// @ts-expect-error -- a query without an expression
export const noQuery: LinesPanel = { ...panel, targets: [{ refId: 'A', datasource: {}, legendFormat: '', range: true, instant: false }] };
