/**
 * The contents of the form. Kept in the browser so that a reload loses nothing; invalid stored values are ignored.
 *
 * Numbers that may be empty are text here; `fields.ts` translates them.
 */
import type { JobView, ModelView } from '../../api/schema';
import { read, write } from '../../lib/stored';
import { type FieldKey, type FieldValues, fields } from './fields';
import type { FormField } from './kinds';

export interface Draft extends FieldValues {
  text: string;
  /** Each line of the text is a separate prompt. */
  isSeveral: boolean;
}

/** The table without the type of each value, for code that treats all fields alike. */
export const table = Object.entries(fields) as unknown as [FieldKey, FormField<unknown>][];

const collect = (value: (field: FormField<unknown>, key: FieldKey) => unknown) =>
  Object.fromEntries(table.map(([key, field]) => [key, value(field, key)])) as unknown as FieldValues;

export const emptyDraft: Draft = { text: '', isSeveral: false, ...collect((field) => field.empty) };

const KEY = 'fleet.draft';

/** Reads a stored value as a draft: known fields of the right type are kept, the rest get their defaults. */
export function sane(stored: unknown): Draft {
  const found = (typeof stored === 'object' && stored !== null ? stored : {}) as Record<string, unknown>;
  const kept = <V>(value: unknown, empty: V): V => (typeof value === typeof empty ? (value as V) : empty);
  return {
    text: kept(found.text, emptyDraft.text),
    isSeveral: kept(found.isSeveral, emptyDraft.isSeveral),
    ...collect((field, key) => {
      const value = kept(found[key], field.empty);
      return field.isSane?.(value) === false ? field.empty : value;
    }),
  };
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

/** Limits the draft to sizes, aspect ratios and lengths of this model, so that the form shows exactly what is sent. */
export function fitted(draft: Draft, model: ModelView): Draft {
  const named = model.sizes.find((size) => size.name === draft.size);
  const size = named || isCustomSize(draft.size) ? draft.size : (model.sizes[0]?.name ?? draft.size);
  const aspects = model.sizes.find((each) => each.name === size)?.aspects ?? [];
  const aspect = aspects.some((each) => each.aspect === draft.aspect) ? draft.aspect : '';
  // A model that takes no picture gets none, and another model still has it.
  const image = model.image === 'required' ? draft.image : '';
  return { ...draft, size, aspect, image, length: lengthBelow(Math.min(draft.length, model.video_length_max), model) };
}

/** A draft that reproduces a job: its settings and its seed. */
export function draftOf({ request }: JobView): Draft {
  return sane({ text: request.prompt, isSeveral: false, ...collect((field) => field.read(request[field.name])) });
}
