/**
 * The contents of the form. Kept in the browser so that a reload loses nothing; invalid stored values are ignored.
 *
 * Numbers that may be empty are text here; `request.ts` turns them into requests.
 */
import type { JobView, ModelView, QualityTier, StepCacheMode } from '../../api/schema';
import { read, write } from '../../lib/stored';

export interface Draft {
  text: string;
  /** Each line of the text is a separate prompt. */
  isSeveral: boolean;
  tier: QualityTier;
  model: string;
  /** Empty means the model's first. */
  size: string;
  aspect: string;
  /** Frames at 24 per second, 4k+1. */
  length: number;
  seed: string;
  steps: string;
  guidance: string;
  negative: string;
  trueGuidance: string;
  stepCache: StepCacheMode | '';
  similar: '' | 'yes' | 'no';
  flowReverse: boolean;
  deadlineMin: string;
}

export const emptyDraft: Draft = {
  text: '',
  isSeveral: false,
  tier: 'auto',
  model: '',
  size: '540p',
  aspect: '',
  length: 129,
  seed: '',
  steps: '',
  guidance: '6',
  negative: '',
  trueGuidance: '1',
  stepCache: '',
  similar: '',
  flowReverse: true,
  deadlineMin: '',
};

const KEY = 'fleet.draft';
const words: Partial<Record<keyof Draft, readonly string[]>> = {
  tier: ['auto', 'preview', 'standard', 'premium'],
  stepCache: ['', 'off', 'balanced', 'fast'],
  similar: ['', 'yes', 'no'],
};

/** Reads a stored value as a draft: known fields of the right type are kept, the rest get their defaults. */
export function sane(stored: unknown): Draft {
  const found = (typeof stored === 'object' && stored !== null ? stored : {}) as Record<string, unknown>;
  const known = Object.entries(emptyDraft).map(([field, fallback]) => {
    const value = found[field];
    const allowed = words[field as keyof Draft];
    const isRight = typeof value === typeof fallback && (!allowed || allowed.includes(value as string));
    return [field, isRight ? value : fallback];
  });
  const draft = Object.fromEntries(known) as Draft;
  return Number.isInteger(draft.length) && draft.length > 0 && draft.length % 4 === 1 ? draft : { ...draft, length: emptyDraft.length };
}

export const loadDraft = (): Draft => sane(read(KEY));
export const saveDraft = (draft: Draft): void => write(KEY, draft);

/** A size in pixels instead of a name. */
export const isCustomSize = (size: string): boolean => /^\d+x\d+$/.test(size);

/** The longest length that a model accepts, 4k+1. */
export const longestOf = ({ video_length_max }: ModelView): number => video_length_max - ((video_length_max - 1) % 4);

/** Limits the draft to sizes, aspect ratios and lengths of this model, so that the form shows exactly what is sent. */
export function fitted(draft: Draft, model: ModelView): Draft {
  const named = model.sizes.find((size) => size.name === draft.size);
  const size = named || isCustomSize(draft.size) ? draft.size : (model.sizes[0]?.name ?? draft.size);
  const aspects = model.sizes.find((each) => each.name === size)?.aspects ?? [];
  const aspect = aspects.some((each) => each.aspect === draft.aspect) ? draft.aspect : '';
  return { ...draft, size, aspect, length: Math.min(draft.length, longestOf(model)) };
}

/** A draft that reproduces a job: its settings and its seed. */
export function draftOf({ request }: JobView): Draft {
  return sane({
    text: request.prompt,
    isSeveral: false,
    tier: request.quality_tier,
    model: request.model ?? '',
    size: request.video_size,
    aspect: request.aspect_ratio ?? '',
    length: request.video_length,
    seed: request.seed === null || request.seed === undefined ? '' : String(request.seed),
    steps: request.infer_steps ? String(request.infer_steps) : '',
    guidance: String(request.cfg_scale ?? 6),
    negative: request.negative_prompt ?? '',
    trueGuidance: String(request.true_cfg_scale ?? 1),
    stepCache: request.step_cache ?? '',
    similar: request.similar_prompts === true ? 'yes' : request.similar_prompts === false ? 'no' : '',
    flowReverse: request.flow_reverse ?? true,
    deadlineMin: '',
  });
}
