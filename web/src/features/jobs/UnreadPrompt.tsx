/** What the model's text encoders do not read of a prompt: it is too long for them. */
import type { PromptTokensView } from '../../api/schema';
import { count } from '../../lib/format';
import { Icon } from '../../ui/Icon';

/** Characters that are shown of an unread text. */
const SHOWN = 160;

const fields: Record<PromptTokensView['field'], string> = { prompt: 'prompt', negative_prompt: 'negative prompt' };

/** The readings in which something is missing. CLIP only summarises the prompt, so what it misses still reaches the model. */
export function unread(readings: PromptTokensView[] | null | undefined, { withSummary }: { withSummary: boolean }): PromptTokensView[] {
  return (readings ?? []).filter((reading) => reading.unread && (withSummary || reading.encoder !== 'clip'));
}

/** One sentence about what is not read. */
export function unreadText({ field, encoder, tokens, tokens_max: most, unread: text }: PromptTokensView): string {
  const quoted = text && text.length > SHOWN ? `${[...text].slice(0, SHOWN).join('')}…` : text;
  const numbers = `${count(most)} of ${count(tokens)} tokens`;
  if (encoder === 'clip') return `The summary of the ${fields[field]} covers only the first ${numbers}, and not “${quoted}”.`;
  if (encoder === 'byt5') return `Of the text in quotation marks, only the first ${numbers} are read, and not “${quoted}”.`;
  return `The model reads only the first ${numbers} of the ${fields[field]}. It will not see “${quoted}”.`;
}

export function UnreadPrompt({ readings, withSummary }: { readings: PromptTokensView[] | null | undefined; withSummary: boolean }) {
  return unread(readings, { withSummary }).map((reading) => (
    <p
      key={`${reading.field} ${reading.encoder}`}
      data-testid="unread-prompt"
      className="flex items-start gap-1.5 rounded-lg bg-wait-soft px-2.5 py-2 text-xs"
    >
      <Icon name="info" className="mt-0.5 size-3.5 shrink-0 text-wait" />
      <span className="min-w-0 break-words">{unreadText(reading)}</span>
    </p>
  ));
}
