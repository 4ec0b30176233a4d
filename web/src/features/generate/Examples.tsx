/** What the selected model can draw, with example prompts. */
import type { ModelView } from '../../api/schema';
import { Icon } from '../../ui/Icon';

interface Props {
  model: ModelView;
  /** Expanded while the prompt is empty, collapsed afterwards. */
  isOpen: boolean;
  onPick: (prompt: string) => void;
}

export function Examples({ model, isOpen, onPick }: Props) {
  return (
    // The key resets it when `isOpen` changes; in between, the user may open or close it.
    <details key={String(isOpen)} open={isOpen} className="group rounded-lg bg-raised text-sm">
      <summary className="flex list-none items-center justify-between gap-2 rounded-lg px-3 py-2 font-medium">
        What {model.name} can draw
        <Icon name="chevron" className="size-4 text-muted transition-transform group-open:rotate-180" />
      </summary>
      <p className="px-3 text-muted">{model.description}</p>
      {model.examples.length > 0 && (
        <div className="flex flex-wrap gap-1.5 p-3 pt-2">
          {model.examples.slice(0, 5).map((example) => (
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
    </details>
  );
}
