/**
 * Turns the form into requests, or into one error message per invalid field.
 *
 * The API validates everything again; its errors are shown at the same fields.
 */
import type { FieldError, LimitsView, ModelView, VideoRequest } from '../../api/schema';
import type { Draft } from './draft';

/** Error messages by form field; `form` is for errors without a field. */
export type FormErrors = Partial<Record<keyof Draft | 'form', string>>;

/** The limits that a draft must respect. */
export interface Rules {
  limits: LimitsView;
  model: ModelView;
}

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

const chars = (text: string) => Array.from(text).length;

/** Validates the draft; returns every error. */
export function check(draft: Draft, { limits, model }: Rules): FormErrors {
  const all = prompts(draft);
  const errors: FormErrors = {
    text: textError(all, limits, draft.isSeveral),
    seed: whole(draft.seed, 0, Number.MAX_SAFE_INTEGER, 'a whole number from 0, or leave it empty for a random seed'),
    steps: whole(draft.steps, 1, model.infer_steps_max, `a whole number from 1 to ${model.infer_steps_max}, or leave it empty for adaptive steps`),
    guidance: number(draft.guidance, 0, limits.cfg_scale_max),
    trueGuidance: number(draft.trueGuidance, 1, limits.true_cfg_scale_max),
    deadlineMin: draft.deadlineMin.trim() ? number(draft.deadlineMin, 0.1, Math.floor(limits.deadline_s_max / 60)) : undefined,
  };
  if (chars(draft.negative) > limits.prompt_chars_max) errors.negative = `At most ${limits.prompt_chars_max} characters.`;
  return Object.fromEntries(Object.entries(errors).filter(([, reason]) => reason)) as FormErrors;
}

function textError(all: string[], limits: LimitsView, isSeveral: boolean): string | undefined {
  if (all.length === 0) return 'Describe what the video should show.';
  if (all.length > limits.batch_max) return `At most ${limits.batch_max} prompts per submission; you entered ${all.length}.`;
  const long = all.findIndex((prompt) => chars(prompt) > limits.prompt_chars_max);
  if (long < 0) return undefined;
  const where = isSeveral ? `Prompt ${long + 1}` : 'The prompt';
  return `${where} has ${chars(all[long] ?? '')} characters; the limit is ${limits.prompt_chars_max}.`;
}

function whole(text: string, min: number, max: number, wanted: string): string | undefined {
  if (!text.trim()) return undefined;
  const value = Number(text);
  return Number.isInteger(value) && value >= min && value <= max ? undefined : `Enter ${wanted}.`;
}

function number(text: string, min: number, max: number): string | undefined {
  const value = Number(text);
  return text.trim() && value >= min && value <= max ? undefined : `Enter a number from ${min} to ${max}.`;
}

/** The request for one prompt of a validated draft. */
export function toRequest(draft: Draft, prompt: string): VideoRequest {
  const trueGuidance = Number(draft.trueGuidance);
  return {
    prompt,
    video_size: draft.size,
    aspect_ratio: draft.aspect || null,
    video_length: draft.length,
    infer_steps: draft.steps.trim() ? Number(draft.steps) : 0,
    quality_tier: draft.tier,
    seed: draft.seed.trim() ? Number(draft.seed) : null,
    cfg_scale: Number(draft.guidance),
    flow_reverse: draft.flowReverse,
    negative_prompt: draft.negative.trim() || (trueGuidance > 1 ? '' : null),
    true_cfg_scale: trueGuidance,
    step_cache: draft.stepCache || null,
    similar_prompts: draft.similar === '' ? null : draft.similar === 'yes',
    model: draft.model || null,
    deadline_s: draft.deadlineMin.trim() ? Math.round(Number(draft.deadlineMin) * 60) : null,
  };
}

const fieldOf: Record<string, keyof Draft> = {
  prompt: 'text',
  video_size: 'size',
  aspect_ratio: 'aspect',
  video_length: 'length',
  infer_steps: 'steps',
  quality_tier: 'tier',
  seed: 'seed',
  cfg_scale: 'guidance',
  negative_prompt: 'negative',
  true_cfg_scale: 'trueGuidance',
  step_cache: 'stepCache',
  similar_prompts: 'similar',
  model: 'model',
  deadline_s: 'deadlineMin',
};

/** Maps the API's errors to form fields; errors without a matching field go to `form`. */
export function fromApi(errors: FieldError[]): FormErrors {
  const mapped: FormErrors = {};
  for (const { field, reason } of errors) {
    const [, index, inner] = /^requests\[(\d+)\]\.(.+)$/.exec(field) ?? [];
    const name = fieldOf[inner ?? field] ?? 'form';
    const where = index === undefined ? '' : `Prompt ${Number(index) + 1}: `;
    mapped[name] ??= name === 'form' ? `${field}: ${reason}` : `${where}${reason}`;
  }
  return mapped;
}
