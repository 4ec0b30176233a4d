/**
 * What stands in the form. Kept in the browser, so that a reload loses nothing; anything strange found there is ignored.
 *
 * Numbers that may be empty are text here; `request.ts` makes requests of them.
 */
import type { JobView, ModelView, QualityTier, StepCacheMode } from '../../api/schema';
import { read, write } from '../../lib/stored';

export interface Draft {
  text: string;
  /** Each line of the text is a prompt of its own. */
  isSeveral: boolean;
  tier: QualityTier;
  model: string;
  /** Empty: the model's first. */
  size: string;
  aspect: string;
  /** Frames at 24 a second. */
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

/** A draft of whatever was stored: known fields of the right kind, the rest as in an empty one. */
export function sane(stored: unknown): Draft {
  const found = (typeof stored === 'object' && stored !== null ? stored : {}) as Record<string, unknown>;
  const known = Object.entries(emptyDraft).map(([field, fallback]) => {
    const value = found[field];
    const allowed = words[field as keyof Draft];
    const isRight = typeof value === typeof fallback && (!allowed || allowed.includes(value as string));
    return [field, isRight ? value : fallback];
  });
  const draft = Object.fromEntries(known) as Draft;
  return Number.isInteger(draft.length) && draft.length > 0 ? draft : { ...draft, length: emptyDraft.length };
}

export const loadDraft = (): Draft => sane(read(KEY));
export const saveDraft = (draft: Draft): void => write(KEY, draft);

/** A size in pixels instead of a name. */
export const isCustomSize = (size: string): boolean => /^\d+x\d+$/.test(size);

/** The longest length of a model that is at most this many frames. */
function lengthBelow(frames: number, { video_length_min, video_length_step }: ModelView): number {
  return Math.max(video_length_min, frames - ((frames - video_length_min) % video_length_step));
}

/** The longest length that a model takes. */
export const longestOf = (model: ModelView): number => lengthBelow(model.video_length_max, model);

/** The shortest length that is offered: a model that renders single frames renders videos from the next length on. */
export const shortestOf = ({ video_length_min, video_length_step }: ModelView): number =>
  video_length_min === 1 ? video_length_min + video_length_step : video_length_min;

/** The draft as this model can take it, so that what is shown is what is sent: its sizes, aspects and lengths. */
export function fitted(draft: Draft, model: ModelView): Draft {
  const named = model.sizes.find((size) => size.name === draft.size);
  const size = named || isCustomSize(draft.size) ? draft.size : (model.sizes[0]?.name ?? draft.size);
  const aspects = model.sizes.find((each) => each.name === size)?.aspects ?? [];
  const aspect = aspects.some((each) => each.aspect === draft.aspect) ? draft.aspect : '';
  return { ...draft, size, aspect, length: lengthBelow(Math.min(draft.length, model.video_length_max), model) };
}

/** The draft that asks for the same video again: the job's own settings and seed. */
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
