/**
 * A picture is dropped, pasted or chosen, uploaded at once, previewed and removed; only models that take one show it.
 *
 * @vitest-environment jsdom
 */
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { cleanup, createEvent, fireEvent, render, screen, waitFor } from '@testing-library/react';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { ModelView } from '../../api/schema';
import { job } from '../../testing/builders';
import { draftOf, emptyDraft, fitted } from './draft';
import { ImagePicker } from './ImagePicker';
import { aspectOf } from './image';
import { check, type Rules, toRequest } from './request';

const model = {
  image: 'required',
  sizes: [{ name: '540p', aspects: [{ aspect: '16:9', width: 960, height: 544 }, { aspect: '1:1', width: 720, height: 720 }] }],
  infer_steps_max: 100,
  video_length_max: 129,
  video_length_min: 5,
  video_length_step: 4,
} as unknown as ModelView;
const rules = { limits: { prompt_chars_max: 20, cfg_scale_max: 20, true_cfg_scale_max: 20, deadline_s_max: 3600, batch_max: 2 }, model } as Rules;
const picture = () => new File(['pixels'], 'cat.png', { type: 'image/png' });
const answers = vi.fn<typeof fetch>();

beforeEach(() => {
  answers.mockImplementation(async () => Response.json({ id: 'p1', width: 2, height: 2 }, { status: 201 }));
  vi.stubGlobal('fetch', answers);
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  answers.mockReset();
});

function shown(image = '', of: ModelView = model, error?: string) {
  const change = vi.fn();
  const client = new QueryClient({ defaultOptions: { mutations: { retry: false } } });
  render(
    <QueryClientProvider client={client}>
      <ImagePicker draft={{ ...emptyDraft, image }} model={of} error={error} change={change} />
    </QueryClientProvider>,
  );
  return change;
}

it('is hidden for a model that takes no picture', () => {
  shown('', { ...model, image: 'none' });
  expect(screen.queryByRole('group')).toBeNull();
});

it('uploads the chosen file as it is and puts its id into the draft', async () => {
  const change = shown();
  const file = picture();
  fireEvent.change(screen.getByLabelText('First frame', { selector: 'input' }), { target: { files: [file] } });
  await waitFor(() => expect(change).toHaveBeenCalledWith({ image: 'p1' }));
  const [path, sent] = answers.mock.calls[0] ?? [];
  expect(path).toBe('/api/images');
  expect(sent).toMatchObject({ method: 'POST', body: file, headers: { 'content-type': 'image/png' } });
});

it('takes a dropped and a pasted picture, and leaves pasted text alone', async () => {
  const change = shown();
  fireEvent.drop(screen.getByRole('group'), { dataTransfer: { files: [picture()] } });
  await waitFor(() => expect(change).toHaveBeenCalledTimes(1));
  const text = createEvent.paste(document.body, { clipboardData: { files: [] } });
  fireEvent(document.body, text);
  expect(text.defaultPrevented).toBe(false);
  fireEvent.paste(document.body, { clipboardData: { files: [picture()] } });
  await waitFor(() => expect(change).toHaveBeenCalledTimes(2));
  expect(answers).toHaveBeenCalledTimes(2);
});

it('shows the picture in the aspect of the video, and removes it', () => {
  const change = shown('p1');
  const preview = screen.getByRole('img');
  expect(preview.getAttribute('src')).toBe('/api/images/p1/thumbnail');
  expect(Number(preview.style.aspectRatio.split('/')[0])).toBeCloseTo(960 / 544);
  fireEvent.click(screen.getByRole('button', { name: 'Remove' }));
  expect(change).toHaveBeenCalledWith({ image: '' });
});

it('shows why a picture was refused, and that one has expired', async () => {
  answers.mockImplementation(async () => Response.json({ detail: 'image: is animated; send a still picture' }, { status: 422 }));
  const change = shown('gone');
  fireEvent.error(screen.getByRole('img'));
  expect(screen.getByRole('alert').textContent).toContain('expired');
  fireEvent.drop(screen.getByRole('group'), { dataTransfer: { files: [picture()] } });
  await waitFor(() => expect(screen.getByRole('alert').textContent).toContain('is animated'));
  expect(change).not.toHaveBeenCalled();
});

it('is part of the draft, of a remix and of the request', () => {
  const draft = { ...emptyDraft, text: 'a cat' };
  expect(check(draft, rules)).toMatchObject({ image: expect.stringContaining('Choose the picture') });
  expect(check({ ...draft, image: 'p1' }, rules)).toEqual({});
  expect(toRequest({ ...draft, image: 'p1' }, 'a cat').image).toBe('p1');
  expect(toRequest(draft, 'a cat').image).toBeNull();
  const image = { id: 'p1', sha256: 'aa', width: 4, height: 2 };
  expect(draftOf(job({ request: { ...job().request, image } })).image).toBe('p1');
  expect(fitted({ ...draft, image: 'p1' }, { ...model, image: 'none' }).image).toBe('');
  expect(fitted({ ...draft, image: 'p1' }, model).image).toBe('p1');
});

it('knows the aspect of named sizes and of sizes in pixels', () => {
  expect(aspectOf({ size: '540p', aspect: '1:1' }, model)).toBe(1);
  expect(aspectOf({ size: '640x320', aspect: '' }, model)).toBe(2);
});
