// Writes dashboards/*.json from panels.ts: `make generate`. It runs only after the compiler has found every panel to be what
// Grafana's own types allow.
//
// To change a dashboard, edit a panel in panels.ts (title, meaning, unit, queries), run `make generate`, then
// `scripts/fleet with-services -- scripts/check-monitoring`. Changes that were made in Grafana are copied here by hand, since
// Grafana gets the files read-only.
import { mkdirSync, writeFileSync } from 'node:fs';
import { COLUMNS, type Item } from './panel.ts';
import { dashboards } from './panels.ts';
import type { Board, LinesPanel, Row, StatPanel } from './types.ts';

/** Panels flow from left to right; a line is as high as its highest panel. */
function layOut(content: Item[]): (LinesPanel | StatPanel | Row)[] {
  let x = 0, y = 0, lineHeight = 0;
  return content.map((item, index) => {
    if (x + item.width > COLUMNS) {
      y += lineHeight;
      x = lineHeight = 0;
    }
    const panel = item.at(index + 1, x, y);
    x += item.width;
    lineHeight = Math.max(lineHeight, item.height);
    return panel;
  });
}

const board = (uid: string, title: string): Board => ({
  uid: uid.startsWith('fleet-') ? uid : `fleet-${uid}`,
  title,
  tags: ['fleet'],
  schemaVersion: 42,
  version: 1,
  editable: false,
  graphTooltip: 1,
  timezone: 'browser',
  refresh: '30s',
  time: { from: 'now-6h', to: 'now' },
  links: [{
    type: 'dashboards', title: 'Fleet', tags: ['fleet'], asDropdown: false, includeVars: true, keepTime: true, icon: 'external link',
    tooltip: '', url: '', targetBlank: false,
  }],
  annotations: { list: [] },
  templating: {
    list: [{
      name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus', hide: 0, includeAll: false, multi: false,
      refresh: 1, regex: '', skipUrlSync: false, options: [], current: { selected: true, text: 'Prometheus', value: 'fleet-prometheus' },
    }],
  },
});

mkdirSync('dashboards', { recursive: true });
for (const [uid, [title, content]] of Object.entries(dashboards)) {
  writeFileSync(`dashboards/${uid}.json`, `${JSON.stringify({ ...board(uid, title), panels: layOut(content) }, null, 2)}\n`);
}
