/**
 * The fields of the form, apart from the prompt. This table is the only place that names them: the draft, its validation, the
 * request, remixes, the API's errors and the controls under Advanced are all derived from it. A field of the request without an
 * entry fails to compile.
 */
import type { DeadlinePolicy, Judge, ProgressiveMode, QualityTier, RenderMode, StepCacheMode, VideoRequest } from '../../api/schema';
import { chars, checkSeed, choiceField, decimal, flagField, numberField, seedOf, textField, whole } from './kinds';
import { imageField } from './imageField';
import { lorasField } from './loras';

export const fields = {
  tier: choiceField<'quality_tier', QualityTier>('quality_tier', ['auto', 'preview', 'standard', 'premium']),
  size: textField('video_size', '540p'),
  /** Empty means the size's first. */
  aspect: textField('aspect_ratio', ''),
  /** Frames at 24 per second. */
  length: {
    name: 'video_length' as const,
    empty: 129,
    read: (frames: VideoRequest['video_length']) => frames ?? 129,
    write: (frames: number) => frames,
    isSane: (frames: number) => Number.isInteger(frames) && frames > 0,
  },
  /** A string, also in the request once a number could not hold it exactly. */
  seed: numberField('seed', null, '', { write: seedOf, check: checkSeed }),
  model: textField('model', '', {
    control: {
      kind: 'choice',
      label: 'Model',
      hint: '',
      isWide: true,
      isHidden: (models) => models.length < 2,
      options: (_, models) => [
        ['', 'Default model'],
        ...models.map(({ id, name, workers }): [string, string] => [id, `${name} (${workers} ${workers === 1 ? 'worker' : 'workers'})`]),
      ],
    },
  }),
  steps: numberField('infer_steps', 0, '', {
    check: whole(({ model }) => [1, model.infer_steps_max], 'adaptive steps'),
    control: {
      kind: 'number',
      label: 'Steps',
      hint: 'Overrides the tier',
      placeholder: (settings) => (settings.adaptive_enabled ? 'adaptive' : 'set by tier'),
    },
  }),
  guidance: numberField('cfg_scale', null, '6', {
    check: decimal(({ limits }) => [0, limits.cfg_scale_max]),
    control: { kind: 'number', label: 'Guidance', hint: 'How closely to follow the prompt' },
  }),
  stepCache: choiceField<'step_cache', StepCacheMode | ''>('step_cache', ['', 'off', 'balanced', 'fast'], {
    control: {
      kind: 'choice',
      label: 'Step cache',
      hint: 'Skips steps that change little',
      options: () => [
        ['', 'Tier default'],
        ['off', 'Off (compute every step)'],
        ['balanced', 'Balanced'],
        ['fast', 'Fast'],
      ],
    },
  }),
  similar: choiceField<'similar_prompts', '' | 'yes' | 'no'>('similar_prompts', ['', 'yes', 'no'], {
    read: (value) => (value === true ? 'yes' : value === false ? 'no' : ''),
    write: (word) => (word === '' ? null : word === 'yes'),
    control: {
      kind: 'choice',
      label: 'Similar prompts',
      hint: 'Reuses their embeddings; changes the video',
      options: (settings) => [
        ['', `Fleet default (${settings.similar_prompts_default ? 'on' : 'off'})`],
        ['yes', 'Allowed'],
        ['no', 'Not allowed'],
      ],
    },
  }),
  interpolate: choiceField<'interpolate', '' | '1' | '2' | '4' | '8'>('interpolate', ['', '1', '2', '4', '8'], {
    read: (value) => (value === null || value === undefined ? '' : (String(value) as '1' | '2' | '4' | '8')),
    write: (word) => (word === '' ? null : Number(word)),
    control: {
      kind: 'choice',
      label: 'Smoothing',
      hint: 'Computes frames between those of the model',
      options: ({ limits }) => [
        ['', 'Tier default'],
        ['1', 'Off'],
        ...(limits.interpolated_frames_max > 0
          ? ([
              ['2', '2 × frames per second'],
              ['4', '4 × frames per second'],
              ['8', '8 × frames per second'],
            ] as [string, string][])
          : []),
      ],
    },
  }),
  progressive: choiceField<'progressive', ProgressiveMode | ''>('progressive', ['', 'off', 'balanced', 'fast'], {
    control: {
      kind: 'choice',
      label: 'Early steps',
      hint: 'At half the size they cost a fraction; changes the video',
      isHidden: (models) => models.every(({ progressive }) => !progressive),
      options: () => [
        ['', 'Tier default'],
        ['off', 'At full size'],
        ['balanced', 'Some at half size'],
        ['fast', 'Most at half size'],
      ],
    },
  }),
  negative: textField('negative_prompt', '', {
    check: (text, { limits }) => (chars(text) > limits.prompt_chars_max ? `At most ${limits.prompt_chars_max} characters.` : undefined),
    control: { kind: 'text', label: 'Negative prompt', hint: 'What to avoid. Needs true guidance above 1.', isWide: true },
  }),
  trueGuidance: numberField('true_cfg_scale', null, '1', {
    check: decimal(({ limits }) => [1, limits.true_cfg_scale_max]),
    control: { kind: 'number', label: 'True guidance', hint: 'Above 1 doubles the cost' },
  }),
  /** In minutes. A remix has none: the deadline of the first video says nothing about the next. */
  deadlineMin: numberField('deadline_s', null, '', {
    read: () => '',
    write: (minutes) => (minutes.trim() ? Math.round(Number(minutes) * 60) : null),
    check: (text, rules) => (text.trim() ? decimal(({ limits }) => [0.1, Math.floor(limits.deadline_s_max / 60)])(text, rules) : undefined),
    control: { kind: 'number', label: 'Deadline', hint: 'In minutes. Goes first while it can be met.', placeholder: () => 'none' },
  }),
  deadlinePolicy: choiceField<'deadline_policy', DeadlinePolicy>('deadline_policy', ['accept', 'reject'], {
    // As the deadline: a remix has none.
    read: () => 'accept',
    control: {
      kind: 'choice',
      label: 'If the deadline cannot be met',
      hint: 'Reject needs a deadline',
      options: () => [
        ['accept', 'Queue it anyway'],
        ['reject', 'Reject it'],
      ],
    },
  }),
  mode: choiceField<'mode', RenderMode>('mode', ['full', 'draft'], {
    control: {
      kind: 'choice',
      label: 'Render',
      hint: 'A draft shows the first steps and waits',
      options: () => [
        ['full', 'The whole video'],
        ['draft', 'A draft first'],
      ],
    },
  }),
  candidates: numberField('candidates', 1, '1', {
    check: whole(() => [1, 8], 'a single video'),
    control: { kind: 'number', label: 'Candidates', hint: 'Drafts of several seeds; one is continued' },
  }),
  judge: choiceField<'judge', Judge>('judge', ['measures', 'person'], {
    control: {
      kind: 'choice',
      label: 'Choose the candidate',
      hint: '',
      options: () => [
        ['measures', 'By measurement'],
        ['person', 'I choose'],
      ],
    },
  }),
  webhook: textField('webhook', '', {
    control: { kind: 'text', label: 'Webhook', hint: 'URL to notify when the video ends', isWide: true },
  }),
  webhookEvents: textField('webhook_events', ''),
  loras: lorasField,
  image: imageField,
  riflex: choiceField<'riflex', '' | 'yes' | 'no'>('riflex', ['', 'yes', 'no'], {
    read: (value) => (value === true ? 'yes' : value === false ? 'no' : ''),
    write: (word) => (word === '' ? null : word === 'yes'),
    control: {
      kind: 'choice',
      label: 'Long videos',
      hint: 'Stretches time so that a long video does not repeat',
      options: () => [
        ['', 'By length'],
        ['yes', 'Stretch'],
        ['no', 'Do not stretch'],
      ],
    },
  }),
  flowReverse: flagField('flow_reverse', true, {
    control: {
      kind: 'flag',
      label: 'Reverse flow',
      hint: 'From noise to video, as the model was trained. Turn off only for experiments.',
      isWide: true,
    },
  }),
};

type Table = typeof fields;

/** The form's fields apart from the prompt. */
export type FieldKey = keyof Table;

/** The value of each field in the draft. */
export type FieldValues = { [K in FieldKey]: Table[K]['empty'] };

/** Fails to compile when a field of the request has no entry, and names it. */
type Missing = Exclude<keyof VideoRequest, Table[FieldKey]['name'] | 'prompt'>;
const missing: [Missing] extends [never] ? null : Missing = null;
void missing;
