/** What the chosen model can draw, and prompts that show it well. */
import type { ModelView } from '../../api/schema';

export function Examples({ model, onPick }: { model: ModelView; onPick: (prompt: string) => void }) {
  return (
    <section aria-label={`About ${model.name}`} className="rounded-lg bg-raised px-3 py-2.5 text-sm">
      <p className="text-muted">
        <span className="font-medium text-ink">{model.name}.</span> {model.description}
      </p>
      {model.examples.length > 0 && (
        <div className="mt-2 flex flex-wrap gap-1.5">
          {model.examples.slice(0, 4).map((example) => (
            <button
              key={example}
              type="button"
              onClick={() => onPick(example)}
              className="rounded-md border border-line bg-surface px-2 py-1 text-left text-xs hover:border-line-strong"
            >
              {example}
            </button>
          ))}
        </div>
      )}
    </section>
  );
}
