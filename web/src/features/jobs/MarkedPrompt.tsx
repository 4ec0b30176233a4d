/** A job's prompt with the words that added complexity, and the score of each factor. */
import type { JobView } from '../../api/schema';
import { factorNames, highlight } from '../../lib/factors';
import { capital, trim } from '../../lib/format';

export function MarkedPrompt({ job }: { job: JobView }) {
  const { factors } = job.optimization;
  const counting = factors.filter((factor) => factor.score > 0);
  return (
    <section aria-label="Prompt">
      <p className="text-lg leading-relaxed font-medium break-words whitespace-pre-wrap">
        {highlight(job.request.prompt, factors).map((part, index) =>
          part.factor ? (
            // oxlint-disable-next-line react/no-array-index-key -- pieces of text have no other key
            <mark key={index} className={`factor factor-${part.factor}`} title={factorNames[part.factor] ?? part.factor}>
              {part.text}
            </mark>
          ) : (
            part.text
          ),
        )}
      </p>
      {job.request.negative_prompt && <p className="mt-1 text-sm text-muted">Avoid: {job.request.negative_prompt}</p>}
      {counting.length > 0 && (
        <ul className="mt-2 flex flex-wrap gap-x-3 gap-y-1" aria-label="What added complexity">
          {counting.map(({ factor, score }) => (
            <li key={factor} className="num flex items-center gap-1.5 text-xs">
              <span className={`factor-dot factor-${factor} size-2 rounded-full`} />
              {factorNames[factor] ?? capital(factor)} <span className="text-muted">+{trim(score, 2)}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
