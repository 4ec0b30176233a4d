/** How the fleet would render the prompt, and why: complexity, steps, time, cost and the words that matter. */
import type { ReactNode } from 'react';
import type { AnalyzeView } from '../../api/schema';
import { factorNames } from '../../lib/factors';
import { capital, duration, trim, usd, words } from '../../lib/format';
import { Chip, type Tone } from '../../ui/Chip';
import { Icon } from '../../ui/Icon';
import { Skeleton } from '../../ui/Skeleton';
import { UnreadPrompt } from '../jobs/UnreadPrompt';

const tones: Record<string, Tone> = { simple: 'good', moderate: 'accent', complex: 'wait', very_complex: 'bad' };

const reasons: Record<string, string> = {
  explicit: 'set by you',
  fixed: 'set by the tier',
  adaptive: 'fits the prompt',
  learned: 'learned from past runs',
  adapter: 'set by the adapter',
};

function Figure({ label, value, note }: { label: string; value: ReactNode; note?: string }) {
  return (
    <div className="min-w-0">
      <dt className="hint">{label}</dt>
      <dd className="num text-base font-semibold">{value}</dd>
      {note && <dd className="hint truncate">{note}</dd>}
    </div>
  );
}

/** Says which words the model will ignore, before anybody waits for a video without them. */
function UnknownWords({ words: unknown }: { words: string[] }) {
  const list = new Intl.ListFormat('en', { type: 'conjunction' }).format(unknown.map((word) => `“${word}”`));
  return (
    <p data-testid="unknown-words" className="flex items-start gap-1.5 rounded-lg bg-wait-soft px-2.5 py-2 text-xs">
      <Icon name="info" className="mt-0.5 size-3.5 shrink-0 text-wait" />
      <span>This model has not learnt {list} and will leave {unknown.length === 1 ? 'it' : 'them'} out. What it can draw is listed below.</span>
    </p>
  );
}

interface Props {
  answer: AnalyzeView | undefined;
  isLoading: boolean;
  error: string | undefined;
  which: string | null;
}

export function AnalysisPanel({ answer, isLoading, error, which }: Props) {
  if (error) return <p className="hint flex items-center gap-1.5"><Icon name="info" className="size-3.5" />Analysis unavailable: {error}</p>;
  if (!answer && !isLoading) {
    return <p className="hint">Write a prompt to see its complexity, steps, time and cost before you submit it.</p>;
  }
  if (!answer) {
    return (
      <div className="grid grid-cols-4 gap-3" aria-hidden="true">
        {['a', 'b', 'c', 'd'].map((key) => (
          <Skeleton key={key} className="h-9" />
        ))}
      </div>
    );
  }
  const { analysis } = answer;
  const seconds = answer.cache_available ? analysis.estimate_cached_s : analysis.estimate_s;
  const counting = analysis.factors.filter((factor) => factor.score > 0);
  return (
    <section aria-label="Prompt analysis" data-testid="analysis" className="space-y-3">
      <div className="flex flex-wrap items-center gap-1.5">
        <Chip tone={tones[analysis.complexity] ?? 'plain'}>{capital(words(analysis.complexity))}</Chip>
        <Chip>{capital(analysis.quality_tier)}</Chip>
        {answer.cache_available && (
          <Chip tone="accent" icon="bolt" title="This prompt was encoded before; its embeddings will be reused">
            Embeddings cached
          </Chip>
        )}
        {which && <span className="hint ml-auto">{which}</span>}
      </div>
      <dl className="grid grid-cols-3 gap-3">
        <Figure label="Steps" value={analysis.infer_steps} note={reasons[analysis.steps_reason]} />
        <Figure label="Time" value={duration(seconds)} note="without queueing" />
        <Figure label="Cost" value={usd(analysis.estimated_cost_usd)} note="of GPU time" />
      </dl>
      {answer.forecast && (
        <p data-testid="forecast" className={answer.forecast.deadline_met === false ? 'text-xs font-medium text-bad' : 'hint'}>
          {answer.forecast.deadline_met === false ? 'The deadline will probably be missed: finished' : 'Finished'} in about{' '}
          {duration(answer.forecast.finish_s)}, if submitted now
        </p>
      )}
      <UnreadPrompt readings={answer.prompt_tokens} withSummary />
      {answer.unknown_words.length > 0 && <UnknownWords words={answer.unknown_words} />}
      {counting.length > 0 && (
        <ul className="space-y-1.5 border-t border-line pt-2.5" aria-label="What adds complexity">
          {counting.map((factor) => (
            <li key={factor.factor} className="flex items-baseline gap-2 text-xs">
              <span className={`factor-dot factor-${factor.factor} size-2 shrink-0 self-center rounded-full`} />
              <span className="w-16 shrink-0 font-medium">{factorNames[factor.factor] ?? capital(factor.factor)}</span>
              <span className="min-w-0 flex-1 truncate text-muted" title={factor.words.join(', ')}>
                {factor.words.join(', ')}
              </span>
              <span className="num font-medium">+{trim(factor.score, 2)}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
