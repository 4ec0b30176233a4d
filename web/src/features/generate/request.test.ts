/** The form reports errors at their fields and sends exactly what it shows. */
import { describe, expect, it } from 'vitest';
import type { LimitsView, ModelView } from '../../api/schema';
import { job } from '../../testing/builders';
import { draftOf, emptyDraft, fitted, sane } from './draft';
import { check, fromApi, promptAt, prompts, toRequest } from './request';

const rules = {
  limits: { prompt_chars_max: 20, cfg_scale_max: 20, true_cfg_scale_max: 20, deadline_s_max: 3600, batch_max: 2 } as LimitsView,
  model: { infer_steps_max: 100, video_length_max: 129 } as ModelView,
};
const draft = { ...emptyDraft, text: 'a red ball' };

describe('prompts', () => {
  it('are one, or one per line', () => {
    expect(prompts({ text: ' a\nb ', isSeveral: false })).toEqual(['a\nb']);
    expect(prompts({ text: ' a\n\n b ', isSeveral: true })).toEqual(['a', 'b']);
    expect(prompts({ text: '  ', isSeveral: false })).toEqual([]);
  });

  it('are found by the caret', () => {
    const text = 'one\ntwo\n\nthree';
    expect(promptAt({ text, isSeveral: true }, 0)).toBe('one');
    expect(promptAt({ text, isSeveral: true }, 5)).toBe('two');
    expect(promptAt({ text, isSeveral: true }, 8)).toBe('one');
    expect(promptAt({ text, isSeveral: true }, text.length)).toBe('three');
    expect(promptAt({ text, isSeveral: false }, 5)).toBe(text);
  });
});

describe('check', () => {
  it('accepts a plain draft', () => expect(check(draft, rules)).toEqual({}));

  it.each([
    [{ text: ' ' }, 'text', /should show/],
    [{ text: 'x'.repeat(21) }, 'text', /21 characters/],
    [{ text: 'a\nb\nc', isSeveral: true }, 'text', /At most 2 prompts/],
    [{ seed: '1.5' }, 'seed', /whole number/],
    [{ seed: '-1' }, 'seed', /from 0/],
    [{ seed: '18446744073709551616' }, 'seed', /to 18446744073709551615/],
    [{ steps: '101' }, 'steps', /1 to 100/],
    [{ guidance: '' }, 'guidance', /0 to 20/],
    [{ trueGuidance: '0.5' }, 'trueGuidance', /1 to 20/],
    [{ negative: 'blur' }, 'negative', /above 1/],
    [{ deadlineMin: '61' }, 'deadlineMin', /to 60/],
    [{ candidates: '9' }, 'candidates', /1 to 8/],
    [{ text: 'a\nb', isSeveral: true, candidates: '4' }, 'candidates', /one by one/],
  ] as const)('%o is rejected at %s', (over, field, reason) => {
    expect(check({ ...draft, ...over }, rules)).toEqual({ [field]: expect.stringMatching(reason) });
  });

  it('counts characters as people do', () => expect(check({ ...draft, text: '👩‍🚀'.repeat(5) }, rules)).toEqual({}));
});

it('a seed of 64 bits keeps every digit', () => {
  for (const [text, seed] of [
    ['', null],
    ['7', 7],
    ['9007199254740991', 9007199254740991],
    ['9007199254740993', '9007199254740993'],
    ['18446744073709551615', '18446744073709551615'],
  ] as const) {
    expect(check({ ...draft, seed: text }, rules)).toEqual({});
    expect(toRequest({ ...draft, seed: text }, 'a red ball').seed).toBe(seed);
  }
});

it('a request spells out what the form shows, with empty fields as null', () => {
  expect(toRequest(draft, 'a red ball')).toMatchObject({
    prompt: 'a red ball',
    quality_tier: 'auto',
    video_size: '540p',
    video_length: 129,
    infer_steps: 0,
    cfg_scale: 6,
    true_cfg_scale: 1,
    flow_reverse: true,
    seed: null,
    model: null,
    negative_prompt: null,
    similar_prompts: null,
    deadline_s: null,
  });
  expect(toRequest({ ...draft, trueGuidance: '3', deadlineMin: '1.5' }, 'x')).toMatchObject({ negative_prompt: '', deadline_s: 90 });
});

it('early steps at half the size are left to the tier, sent as chosen, and shown again in a remix', () => {
  expect(toRequest(draft, 'x').progressive).toBeNull();
  const request = toRequest({ ...draft, progressive: 'fast' }, 'x');
  expect(request.progressive).toBe('fast');
  expect(draftOf(job({ request })).progressive).toBe('fast');
  expect(sane({ ...draft, progressive: 'most' }).progressive).toBe('');
});

it('drafts, candidates and smoothing are sent as they are shown, and a remix shows them again', () => {
  const form = { ...draft, mode: 'draft', candidates: '4', judge: 'person', interpolate: '8' } as const;
  const request = toRequest(form, 'a red ball');
  expect(request).toMatchObject({ mode: 'draft', candidates: 4, judge: 'person', interpolate: 8 });
  expect(draftOf(job({ request }))).toMatchObject({ mode: 'draft', candidates: '4', judge: 'person', interpolate: '8' });
  expect(toRequest(draft, 'x')).toMatchObject({ mode: 'full', candidates: 1, judge: 'measures', interpolate: null });
  expect(toRequest({ ...draft, interpolate: '1' }, 'x').interpolate).toBe(1);
  expect(sane({ ...draft, interpolate: '3', mode: 'half', judge: 'cat' })).toMatchObject({ interpolate: '', mode: 'full', judge: 'measures' });
});

it('a remix requests the same video', () => {
  const before = job({ prompt: 'a blue square' });
  expect(toRequest(draftOf(before), 'a blue square')).toMatchObject({ ...before.request });
});

it('only valid values of a stored draft are used', () => {
  expect(sane(null)).toEqual(emptyDraft);
  expect(sane({ text: 'kept', tier: 'ultra', length: -1, steps: 5, other: 1 })).toEqual({ ...emptyDraft, text: 'kept' });
});

it('errors from the API are shown at their fields', () => {
  expect(
    fromApi([
      { field: 'requests[3].prompt', reason: 'is too long' },
      { field: 'seed', reason: 'must be 0 or more' },
      { field: 'weird', reason: 'is wrong' },
    ]),
  ).toEqual({ text: 'Prompt 4: is too long', seed: 'must be 0 or more', form: 'weird: is wrong' });
});

describe('fitted', () => {
  const model = {
    sizes: [
      { name: '540p', aspects: [{ aspect: '16:9', width: 960, height: 544 }, { aspect: '1:1', width: 720, height: 720 }] },
      { name: '720p', aspects: [] },
    ],
    video_length_max: 128,
    video_length_min: 1,
    video_length_step: 4,
  } as unknown as ModelView;

  it('keeps what the model offers, and a size in pixels', () => {
    const one = { ...draft, size: '540p', aspect: '1:1', length: 65 };
    expect(fitted(one, model)).toEqual(one);
    expect(fitted({ ...draft, size: '640x368' }, model).size).toBe('640x368');
  });

  it('replaces values that the model does not offer', () => {
    expect(fitted({ ...draft, size: '1080p', aspect: '1:1', length: 257 }, model)).toMatchObject({ size: '540p', aspect: '1:1', length: 125 });
    expect(fitted({ ...draft, size: '720p', aspect: '9:16' }, model).aspect).toBe('');
    expect(fitted({ ...draft, length: 100 }, model).length).toBe(97);
    expect(fitted({ ...draft, length: 100 }, { ...model, video_length_step: 8, video_length_min: 5 }).length).toBe(93);
  });
});
