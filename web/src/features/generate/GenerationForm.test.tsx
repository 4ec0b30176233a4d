/**
 * The form is not submitted while its picture is being uploaded.
 *
 * @vitest-environment jsdom
 */
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import { afterEach, expect, it, vi } from 'vitest';
import type { ModelView, SettingsView, VideoRequest } from '../../api/schema';
import { keys } from '../../lib/keys';
import { job } from '../../testing/builders';
import { GenerationForm } from './GenerationForm';

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const model = {
  id: 'default',
  name: 'Test model',
  description: '',
  examples: [],
  default: true,
  workers: 1,
  image: 'required',
  sizes: [{ name: '540p', aspects: [{ aspect: '16:9', width: 960, height: 544 }] }],
  infer_steps_max: 100,
  video_length_max: 129,
  video_length_min: 5,
  video_length_step: 4,
} as unknown as ModelView;
const settings = {
  limits: { prompt_chars_max: 20, cfg_scale_max: 20, true_cfg_scale_max: 20, deadline_s_max: 3600, batch_max: 2 },
} as unknown as SettingsView;

it('waits for the new picture instead of submitting the old one', async () => {
  const uploads: ((id: string) => void)[] = [];
  const posted: VideoRequest[] = [];
  vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
    if (path === '/api/images') {
      const id = await new Promise<string>((resolve) => {
        uploads.push(resolve);
      });
      return Response.json({ id, width: 2, height: 2 }, { status: 201 });
    }
    if (path === '/api/generate') {
      posted.push(JSON.parse(String(init.body)) as VideoRequest);
      return Response.json(job(), { status: 202 });
    }
    return Response.json({ title: 'Not found', status: 404 }, { status: 404 });
  });
  const client = new QueryClient({ defaultOptions: { queries: { staleTime: Number.POSITIVE_INFINITY, retry: false } } });
  client.setQueryData(keys.settings, settings);
  client.setQueryData(keys.models, { models: [model] });
  render(
    <QueryClientProvider client={client}>
      <GenerationForm />
    </QueryClientProvider>,
  );
  const button = () => screen.getByRole<HTMLButtonElement>('button', { name: 'Generate' });
  const choose = () => {
    const files = [new File(['pixels'], 'cat.png', { type: 'image/png' })];
    fireEvent.change(screen.getByLabelText('First frame', { selector: 'input' }), { target: { files } });
  };
  const submit = () => fireEvent.submit(screen.getByRole('form', { name: 'New video' }));

  fireEvent.change(screen.getByLabelText('Prompt'), { target: { value: 'a cat' } });
  choose();
  await waitFor(() => expect(uploads).toHaveLength(1));
  uploads[0]?.('old');
  await waitFor(() => expect(screen.getByRole('img').getAttribute('src')).toBe('/api/images/old/thumbnail'));
  await waitFor(() => expect(button().disabled).toBe(false));

  choose();
  await waitFor(() => expect(uploads).toHaveLength(2));
  await waitFor(() => expect(button().disabled).toBe(true));
  expect(screen.getByText('Wait until the picture is uploaded.')).toBeTruthy();
  submit();
  fireEvent.keyDown(screen.getByLabelText('Prompt'), { key: 'Enter', ctrlKey: true });

  uploads[1]?.('new');
  await waitFor(() => expect(screen.getByRole('img').getAttribute('src')).toBe('/api/images/new/thumbnail'));
  await waitFor(() => expect(button().disabled).toBe(false));
  submit();
  await waitFor(() => expect(posted.map(({ image }) => image)).toEqual(['new']));
});
