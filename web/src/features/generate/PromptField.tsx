/**
 * The prompt, with the words that add complexity marked as you type.
 *
 * A layer below a transparent text area draws the marks; both wrap alike because they share every text style.
 */
import { type SyntheticEvent, useRef } from 'react';
import type { FactorScore } from '../../api/schema';
import type { ControlProps } from '../../ui/Field';
import { highlight } from '../../lib/factors';

interface Props {
  control: ControlProps;
  value: string;
  rows: number;
  placeholder: string;
  factors: FactorScore[];
  onChange: (text: string) => void;
  onCaret: (at: number) => void;
  onSubmit: () => void;
}

const shared = 'px-3 py-2.5 text-base leading-relaxed whitespace-pre-wrap break-words';

export function PromptField({ control, value, rows, placeholder, factors, onChange, onCaret, onSubmit }: Props) {
  const layer = useRef<HTMLDivElement>(null);
  const reportCaret = (event: SyntheticEvent<HTMLTextAreaElement>) => onCaret(event.currentTarget.selectionStart);
  return (
    <div className="relative rounded-lg bg-surface">
      <div ref={layer} aria-hidden="true" className={`pointer-events-none absolute inset-0 overflow-hidden border border-transparent text-transparent ${shared}`}>
        {highlight(value, factors).map((part, index) =>
          part.factor ? (
            // oxlint-disable-next-line react/no-array-index-key -- pieces of text have no other key
            <mark key={index} className={`factor factor-${part.factor} !text-transparent`}>
              {part.text}
            </mark>
          ) : (
            part.text
          ),
        )}
        {'\n'}
      </div>
      <textarea
        {...control}
        name="prompt"
        rows={rows}
        value={value}
        placeholder={placeholder}
        className={`relative block w-full resize-y rounded-lg border border-line-strong bg-transparent placeholder:text-muted aria-invalid:border-bad ${shared}`}
        onChange={(event) => {
          onChange(event.target.value);
          reportCaret(event);
        }}
        onSelect={reportCaret}
        onScroll={(event) => {
          if (layer.current) layer.current.scrollTop = event.currentTarget.scrollTop;
        }}
        onKeyDown={(event) => {
          if (event.key === 'Enter' && (event.metaKey || event.ctrlKey)) {
            event.preventDefault();
            onSubmit();
          }
        }}
      />
    </div>
  );
}
