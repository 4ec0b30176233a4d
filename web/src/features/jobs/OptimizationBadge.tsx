/** What the optimisations decided and saved for a video: cache, complexity, tier, steps, time, cost and saving. */
import type { CacheMatch, JobView, OptimizationView } from '../../api/schema';
import { capital, duration, minutes, percent, trim, usd, words } from '../../lib/format';
import { Chip } from '../../ui/Chip';

const cacheTexts: Record<CacheMatch, { text: string; title: string }> = {
  identical: { text: 'Cache hit', title: 'This prompt was encoded before; its embeddings were reused' },
  similar: { text: 'Similar hit', title: 'The embeddings of a similar prompt were reused' },
  miss: { text: 'Cache miss', title: 'The prompt was encoded and its embeddings are now cached' },
  off: { text: 'Cache off', title: 'The embedding cache is off' },
};

function CacheChip({ match, score }: { match: CacheMatch; score: number | null | undefined }) {
  const known = cacheTexts[match];
  const isHit = match === 'identical' || match === 'similar';
  return (
    <Chip tone={isHit ? 'accent' : 'plain'} icon={isHit ? 'bolt' : undefined} title={known.title}>
      {known.text}
      {match === 'similar' && score ? ` ${percent(100 * score)}` : ''}
    </Chip>
  );
}

/** `25 steps`, `25 steps, 8 skipped`. */
function stepsText({ final_steps: steps, steps_skipped: skipped }: OptimizationView): string {
  return skipped ? `${steps} steps, ${skipped} skipped` : `${steps} steps`;
}

function timeText({ actual_time: actual, estimated_time: estimate }: OptimizationView): { text: string; title: string } | null {
  if (typeof actual === 'number' && typeof estimate === 'number') {
    return { text: `${minutes(actual)}, est. ${minutes(estimate)}`, title: `Run time ${minutes(actual)}; the estimate was ${minutes(estimate)}` };
  }
  return typeof estimate === 'number' ? { text: `about ${minutes(estimate)}`, title: 'Estimated run time, without queueing' } : null;
}

export function OptimizationBadge({ job }: { job: Pick<JobView, 'optimization' | 'request' | 'record'> }) {
  const it = job.optimization;
  const time = timeText(it);
  const isAuto = job.request.quality_tier === 'auto';
  return (
    <ul aria-label="Optimisation" data-testid="badge" className="flex flex-wrap gap-1 [&>li]:flex">
      {it.cache_match && (
        <li>
          <CacheChip match={it.cache_match} score={it.cache_score} />
        </li>
      )}
      {it.complexity && (
        <li>
          <Chip title="Complexity of the prompt">{capital(words(it.complexity))}</Chip>
        </li>
      )}
      {it.quality_tier && (
        <li>
          <Chip icon="layers" title={isAuto ? 'Tier, chosen from the prompt' : 'Tier, as requested'}>
            {capital(it.quality_tier)}
          </Chip>
        </li>
      )}
      {job.record?.batch && (
        <li>
          <Chip icon="layers" title="Rendered together with other jobs: the mean number that shared each step, this one included">
            Batch of {trim(job.record.batch, 1)}
          </Chip>
        </li>
      )}
      {(job.record?.devices ?? 1) > 1 && (
        <li>
          <Chip icon="server" title="Devices that computed this video together">
            {job.record?.devices} devices
          </Chip>
        </li>
      )}
      {typeof it.final_steps === 'number' && (
        <li>
          <Chip icon="steps" title={it.steps_skipped ? 'Planned steps, and how many of them the step cache skipped' : 'Denoising steps'}>
            {stepsText(it)}
          </Chip>
        </li>
      )}
      {(job.request.loras ?? []).map(({ name, scale }) => (
        <li key={name}>
          <Chip title="Adapter and its scale">
            {name} × {scale ?? 1}
          </Chip>
        </li>
      ))}
      {time && (
        <li>
          <Chip icon="clock" title={time.title}>
            {time.text}
          </Chip>
        </li>
      )}
      {typeof it.cost_usd === 'number' && (
        <li>
          <Chip icon="coins" title="Cost of the GPU time">
            {usd(it.cost_usd)}
          </Chip>
        </li>
      )}
      {typeof it.saved_usd === 'number' && typeof it.saved_s === 'number' && it.saved_s > 0 && (
        <li>
          <Chip tone="good" title={`${usd(it.saved_usd)} and ${duration(it.saved_s)} less than with fixed steps and no caches`}>
            {usd(it.saved_usd)} saved
          </Chip>
        </li>
      )}
    </ul>
  );
}
