/**
 * Turns the form into requests, or into one error message per invalid field.
 *
 * The API validates everything again; its errors are shown at the same fields.
 */
import type { FieldError, LimitsView, VideoRequest } from '../../api/schema';
import { type Draft, table } from './draft';
import { chars, type Rules } from './kinds';

export type { Rules } from './kinds';

/** Error messages by form field; `form` is for errors without a field. */
export type FormErrors = Partial<Record<keyof Draft | 'form', string>>;

/** The prompts in the text: a single one, or one per non-empty line. */
export function prompts(draft: Pick<Draft, 'text' | 'isSeveral'>): string[] {
  if (!draft.isSeveral) return draft.text.trim() ? [draft.text.trim()] : [];
  return draft.text.split('\n').map((line) => line.trim()).filter(Boolean);
}

/** The prompt at the caret: the whole text, or its line when each line is a prompt. */
export function promptAt(draft: Pick<Draft, 'text' | 'isSeveral'>, caret: number): string {
  if (!draft.isSeveral) return draft.text.trim();
  const from = draft.text.lastIndexOf('\n', caret - 1) + 1;
  const to = draft.text.indexOf('\n', from);
  return draft.text.slice(from, to < 0 ? undefined : to).trim() || (prompts(draft)[0] ?? '');
}

/** Validates the draft; returns every error. */
export function check(draft: Draft, rules: Rules): FormErrors {
  const errors = table.map(([key, field]) => [key, field.check?.(draft[key], rules)]);
  if (!errors.some(([key, reason]) => key === 'negative' && reason) && draft.negative.trim() && Number(draft.trueGuidance || 1) <= 1) {
    errors.push(['negative', 'Has no effect unless true guidance is above 1.']);
  }
  if (draft.isSeveral && prompts(draft).length > 1 && Number(draft.candidates || 1) > 1) {
    errors.push(['candidates', 'Several prompts cannot have candidates. Submit them one by one.']);
  }
  errors.unshift(['text', textError(prompts(draft), rules.limits, draft.isSeveral)]);
  return Object.fromEntries(errors.filter(([, reason]) => reason)) as FormErrors;
}

function textError(all: string[], limits: LimitsView, isSeveral: boolean): string | undefined {
  if (all.length === 0) return 'Describe what the video should show.';
  if (all.length > limits.batch_max) return `At most ${limits.batch_max} prompts per submission; you entered ${all.length}.`;
  const long = all.findIndex((prompt) => chars(prompt) > limits.prompt_chars_max);
  if (long < 0) return undefined;
  const where = isSeveral ? `Prompt ${long + 1}` : 'The prompt';
  return `${where} has ${chars(all[long] ?? '')} characters; the limit is ${limits.prompt_chars_max}.`;
}

/** The request for one prompt of a validated draft. */
export function toRequest(draft: Draft, prompt: string): VideoRequest {
  const written = table.map(([key, field]) => [field.name, field.write(draft[key])]);
  const request = { prompt, ...Object.fromEntries(written) } as VideoRequest;
  // True guidance needs a negative prompt, which may be empty.
  if ((request.true_cfg_scale ?? 1) > 1) request.negative_prompt ??= '';
  return request;
}

const keyOf: Record<string, keyof Draft> = { prompt: 'text', ...Object.fromEntries(table.map(([key, { name }]) => [name, key])) };

/** Maps the API's errors to form fields; errors without a matching field go to `form`. */
export function fromApi(errors: FieldError[]): FormErrors {
  const mapped: FormErrors = {};
  for (const { field, reason } of errors) {
    const [, index, inner] = /^requests\[(\d+)\]\.(.+)$/.exec(field) ?? [];
    // `loras[0].name` is shown at the adapters.
    const name = keyOf[(inner ?? field).replace(/\[.*$/, '')] ?? 'form';
    const where = index === undefined ? '' : `Prompt ${Number(index) + 1}: `;
    mapped[name] ??= name === 'form' ? `${field}: ${reason}` : `${where}${reason}`;
  }
  return mapped;
}
