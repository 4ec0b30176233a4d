/** The tiers, each with its steps and this fleet's estimate. */
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useId } from 'react';
import { getTiers } from '../../api/getTiers';
import type { QualityTier, TierView } from '../../api/schema';
import { durationRange } from '../../lib/format';
import { keys } from '../../lib/keys';
import { Skeleton } from '../../ui/Skeleton';
import type { Draft } from './draft';

const tiers: { tier: QualityTier; name: string; says: string }[] = [
  { tier: 'auto', name: 'Auto', says: 'Steps fitted to the prompt' },
  { tier: 'preview', name: 'Preview', says: 'Quick draft' },
  { tier: 'standard', name: 'Standard', says: 'Everyday quality' },
  { tier: 'premium', name: 'Premium', says: 'Most detail' },
];

const BARS = 10;

/** The step range as bars: solid up to the minimum, lighter up to the maximum. */
function Meter({ view }: { view: TierView | undefined }) {
  const most = 50;
  const at = (steps: number) => Math.round((Math.min(steps, most) / most) * BARS);
  const [sure, may] = view ? [at(view.steps_min), at(view.steps_max)] : [0, 0];
  return (
    <span aria-hidden="true" className="flex gap-0.5">
      {Array.from({ length: BARS }, (_, index) => (
        <span
          // oxlint-disable-next-line react/no-array-index-key -- a bar is its position
          key={index}
          className={`h-1.5 flex-1 rounded-full ${index < sure ? 'bg-accent' : index < may ? 'bg-accent/40' : 'bg-line'}`}
        />
      ))}
    </span>
  );
}

const stepsText = ({ steps_min, steps_max }: TierView) => (steps_min === steps_max ? `${steps_min} steps` : `${steps_min}–${steps_max} steps`);

interface Props {
  draft: Draft;
  onChange: (tier: QualityTier) => void;
}

export function TierSelector({ draft, onChange }: Props) {
  const name = useId();
  const query = { model: draft.model || null, video_size: draft.size, aspect_ratio: draft.aspect || null, video_length: draft.length };
  const answer = useQuery({
    queryKey: keys.tiers(query),
    queryFn: ({ signal }) => getTiers(query, signal),
    placeholderData: keepPreviousData,
    retry: 1,
    staleTime: 30_000,
  });
  return (
    <fieldset>
      <legend className="label mb-1">Quality</legend>
      <div className="grid grid-cols-2 gap-2">
        {tiers.map(({ tier, name: title, says }) => {
          const view = answer.data?.tiers.find((each) => each.quality_tier === tier);
          return (
            <label
              key={tier}
              className="group cursor-pointer rounded-lg border border-line bg-surface p-2.5 transition-colors hover:border-line-strong has-checked:border-accent has-checked:bg-accent-soft/60 has-checked:ring-1 has-checked:ring-accent has-focus-visible:outline-2 has-focus-visible:outline-offset-2 has-focus-visible:outline-accent"
            >
              <input type="radio" className="sr-only" name={name} value={tier} checked={draft.tier === tier} onChange={() => onChange(tier)} />
              <span className="flex items-baseline justify-between gap-2">
                <span className="text-sm font-semibold">{title}</span>
                {view ? (
                  <span className="num text-xs text-muted">{durationRange(view.estimated_time_min * 60, view.estimated_time_max * 60)}</span>
                ) : (
                  <Skeleton className="h-3 w-12" />
                )}
              </span>
              <span className="hint mt-0.5 block">{says}</span>
              <span className="mt-2 block">
                <Meter view={view} />
              </span>
              <span className="num hint mt-1 block">{view ? stepsText(view) : ' '}</span>
            </label>
          );
        })}
      </div>
    </fieldset>
  );
}
