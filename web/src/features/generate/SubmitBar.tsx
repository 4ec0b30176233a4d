/** The submit button with the estimated time and cost; always visible. */
import type { AnalyzeView } from '../../api/schema';
import { duration, usd } from '../../lib/format';
import { Button } from '../../ui/Button';
import { Notice } from '../../ui/Notice';

interface Props {
  amount: number;
  answer: AnalyzeView | undefined;
  isPending: boolean;
  /** The picture is being uploaded. */
  isUploading: boolean;
  error: string | undefined;
  workers: number;
}

function estimate(amount: number, answer: AnalyzeView | undefined): string {
  if (!answer || amount === 0) return 'Ctrl + Enter to submit';
  const { analysis, cache_available } = answer;
  const each = amount > 1 ? ' each' : '';
  return `about ${duration(cache_available ? analysis.estimate_cached_s : analysis.estimate_s)} · ${usd(analysis.estimated_cost_usd)}${each}`;
}

export function SubmitBar({ amount, answer, isPending, isUploading, error, workers }: Props) {
  return (
    <div className="sticky bottom-0 space-y-2.5 rounded-b-[inherit] border-t border-line bg-surface px-4 py-3 sm:px-5">
      {error && <Notice tone="bad" title="Not submitted">{error}</Notice>}
      {workers === 0 && !error && (
        <Notice tone="wait" title="No workers online for this model">Videos stay queued until one connects.</Notice>
      )}
      <div className="flex items-center gap-3">
        <p className="num hint min-w-0 flex-1">{isUploading ? 'Wait until the picture is uploaded.' : estimate(amount, answer)}</p>
        <Button type="submit" variant="primary" icon="film" className="min-h-10 px-5" disabled={isPending || isUploading}>
          {isPending ? 'Submitting…' : amount > 1 ? `Generate ${amount} videos` : 'Generate'}
        </Button>
      </div>
    </div>
  );
}
