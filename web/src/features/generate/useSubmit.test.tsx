/**
 * A submission whose outcome is unknown is repeated under the same idempotency key; a refused one gets a new key.
 *
 * @vitest-environment jsdom
 */
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { act, cleanup, renderHook } from '@testing-library/react';
import type { ReactNode } from 'react';
import { afterEach, expect, it, vi } from 'vitest';
import { job } from '../../testing/builders';
import { emptyDraft } from './draft';
import { useSubmit } from './useSubmit';

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

/** Submits the same draft twice; the first attempt has this outcome. Returns both keys. */
async function keysAfter(first: () => Response): Promise<string[]> {
  const sent: string[] = [];
  vi.stubGlobal('fetch', async (_path: string, init: RequestInit) => {
    sent.push((init.headers as Record<string, string>)['idempotency-key'] ?? '');
    return sent.length === 1 ? first() : Response.json(job(), { status: 202 });
  });
  const client = new QueryClient();
  const wrapper = ({ children }: { children: ReactNode }) => <QueryClientProvider client={client}>{children}</QueryClientProvider>;
  const { result } = renderHook(() => useSubmit(), { wrapper });
  for (let attempt = 0; attempt < 2; attempt += 1) {
    await act(async () => {
      await result.current.mutateAsync({ ...emptyDraft, text: 'a cat' }).catch(() => undefined);
    });
  }
  expect(sent).toHaveLength(2);
  expect(sent[0]).not.toBe('');
  return sent;
}

const refused = (status: number) => () => Response.json({ title: 'Not accepted', status }, { status });

it('keeps the key after a timeout, a failure of the server and a lost connection', async () => {
  const lost = () => {
    throw new TypeError('the connection was lost');
  };
  for (const outcome of [refused(408), refused(503), lost]) {
    const [first, second] = await keysAfter(outcome);
    expect(second).toBe(first);
  }
});

it('takes a new key after a refusal and after a success', async () => {
  for (const outcome of [refused(422), refused(429), () => Response.json(job(), { status: 202 })]) {
    const [first, second] = await keysAfter(outcome);
    expect(second).not.toBe(first);
  }
});
