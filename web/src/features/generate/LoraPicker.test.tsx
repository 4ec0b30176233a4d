/**
 * Adapters are found by name, have a slider each, and are sent by name and scale.
 *
 * @vitest-environment jsdom
 */
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, expect, it, vi } from 'vitest';
import type { LoraView } from '../../api/schema';
import { keys } from '../../lib/keys';
import { job } from '../../testing/builders';
import { draftOf, emptyDraft, sane } from './draft';
import { LoraPicker } from './LoraPicker';
import { fromApi, toRequest } from './request';

afterEach(cleanup);

const lora = (name: string, over: Partial<LoraView> = {}): LoraView => ({
  id: name,
  name,
  model: 'default',
  fingerprint: 'aa',
  bytes: 1000,
  rank: 4,
  layers: 8,
  description: '',
  sampling: {},
  shared: false,
  own: true,
  created_at: '2026-01-01T00:00:00Z',
  ...over,
});

function shown(known: LoraView[], chosen: { name: string; scale: number }[] = []) {
  const client = new QueryClient({ defaultOptions: { queries: { staleTime: Infinity, retry: false } } });
  client.setQueryData(keys.loras('default'), { loras: known });
  const change = vi.fn();
  render(
    <QueryClientProvider client={client}>
      <LoraPicker model="default" chosen={chosen} error={undefined} change={change} />
    </QueryClientProvider>,
  );
  return change;
}

it('is hidden while there is nothing to choose', () => {
  shown([]);
  expect(screen.queryByRole('group')).toBeNull();
});

it('finds adapters by name and description, offers each name once, and adds one at full scale', () => {
  const known = [lora('style'), lora('style', { id: 'other', own: false, shared: true }), lora('speed', { description: 'six steps' })];
  const change = shown(known);
  expect(screen.getAllByRole('button')).toHaveLength(2);
  fireEvent.change(screen.getByRole('searchbox'), { target: { value: 'SIX' } });
  fireEvent.click(screen.getByRole('button', { name: '+ speed' }));
  expect(change).toHaveBeenCalledWith({ loras: [{ name: 'speed', scale: 1 }] });
});

it('changes a scale and removes an adapter', () => {
  const change = shown([lora('style')], [{ name: 'style', scale: 1 }]);
  fireEvent.change(screen.getByRole('slider', { name: 'Scale of style' }), { target: { value: '0.5' } });
  expect(change).toHaveBeenCalledWith({ loras: [{ name: 'style', scale: 0.5 }] });
  fireEvent.click(screen.getByRole('button', { name: 'Remove style' }));
  expect(change).toHaveBeenLastCalledWith({ loras: [] });
});

it('is part of the draft, of a remix and of the request', () => {
  const loras = [{ name: 'style', scale: 0.5 }];
  expect(sane({ loras })).toMatchObject({ loras });
  for (const wrong of ['style', [{ name: 1 }], [{ name: 'a', scale: 'b' }], {}]) expect(sane({ loras: wrong }).loras).toEqual([]);
  expect(toRequest({ ...emptyDraft, loras }, 'x').loras).toEqual(loras);
  const remixed = job({ request: { ...job().request, loras: [{ name: 'style', scale: 0.5, fingerprint: 'aa' }] } });
  expect(draftOf(remixed).loras).toEqual(loras);
  expect(fromApi([{ field: 'requests[1].loras[0].name', reason: 'is unknown' }])).toEqual({ loras: 'Prompt 2: is unknown' });
});
