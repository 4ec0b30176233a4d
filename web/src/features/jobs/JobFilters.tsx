/** Filters for the list: by status, tier and words of the prompt. */
import { useEffect, useState } from 'react';
import type { JobQuery } from '../../api/listJobs';
import { useDebounced } from '../../lib/useDebounced';
import { IconButton } from '../../ui/Button';
import { Icon } from '../../ui/Icon';
import { Segmented } from '../../ui/Segmented';

/** The current filter. */
export interface Filter {
  state: 'all' | 'active' | 'done' | 'failed';
  tier: '' | 'preview' | 'standard' | 'premium';
  text: string;
}

export const everything: Filter = { state: 'all', tier: '', text: '' };

const statuses: Record<Filter['state'], string | undefined> = {
  all: undefined,
  active: 'queued,scheduled,running,drafted',
  done: 'completed',
  failed: 'failed,cancelled',
};

/** The filter as query parameters of the API. */
export const queryOf = ({ state, tier, text }: Filter): JobQuery => ({
  ...(statuses[state] && { status: statuses[state] }),
  ...(tier && { tier }),
  ...(text && { q: text }),
});

const PAUSE_MS = 250;

export function JobFilters({ filter, onChange }: { filter: Filter; onChange: (part: Partial<Filter>) => void }) {
  const [text, setText] = useState(filter.text);
  const settled = useDebounced(text.trim(), PAUSE_MS);
  useEffect(() => onChange({ text: settled }), [settled, onChange]);
  return (
    <div className="flex flex-wrap items-center gap-x-3 gap-y-2">
      <Segmented
        legend="Status"
        hideLegend
        options={[
          { value: 'all', label: 'All' },
          { value: 'active', label: 'In progress' },
          { value: 'done', label: 'Done' },
          { value: 'failed', label: 'Failed', title: 'Failed or cancelled' },
        ]}
        value={filter.state}
        onChange={(state) => onChange({ state })}
      />
      <label className="sr-only" htmlFor="filter-tier">
        Tier
      </label>
      <select id="filter-tier" className="input !w-auto" value={filter.tier} onChange={(event) => onChange({ tier: event.target.value as Filter['tier'] })}>
        <option value="">All tiers</option>
        <option value="preview">Preview</option>
        <option value="standard">Standard</option>
        <option value="premium">Premium</option>
      </select>
      <search className="relative min-w-44 flex-1">
        <label className="sr-only" htmlFor="filter-text">
          Search prompts
        </label>
        <Icon name="search" className="pointer-events-none absolute top-2 left-2.5 size-4 text-muted" />
        <input
          id="filter-text"
          type="text"
          className="input !pr-8 !pl-8"
          placeholder="Search prompts"
          autoComplete="off"
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => event.key === 'Escape' && setText('')}
        />
        {text && <IconButton icon="close" label="Clear search" className="absolute top-0 right-0" onClick={() => setText('')} />}
      </search>
    </div>
  );
}
