/**
 * The picture that a video begins from is shown on its card, and its crop among the facts.
 *
 * @vitest-environment jsdom
 */
import { cleanup, render, screen } from '@testing-library/react';
import { afterEach, beforeAll, expect, it, vi } from 'vitest';
import { job } from '../../testing/builders';
import { JobFacts } from './JobFacts';
import { JobMedia } from './JobMedia';

// jsdom has no media queries.
beforeAll(() => void vi.stubGlobal('matchMedia', () => ({ matches: true })));
afterEach(cleanup);

const request = { ...job().request, image: { id: 'p1', sha256: 'aa', width: 4000, height: 3000 } };
const image = { url: '/api/images/p1', thumbnail_url: '/api/images/p1/thumbnail', crop: { x: 0, y: 375, width: 4000, height: 2250 } };

it('is a small picture on the card, in every state', () => {
  for (const status of ['queued', 'running', 'completed'] as const) {
    render(<JobMedia job={job({ status, request, image })} onOpen={() => undefined} />);
    expect(screen.getByAltText('First frame').getAttribute('src')).toBe(image.thumbnail_url);
    cleanup();
  }
  render(<JobMedia job={job()} onOpen={() => undefined} />);
  expect(screen.queryByAltText('First frame')).toBeNull();
});

it('states the part that is used', () => {
  render(<JobFacts job={job({ request, image })} />);
  expect(screen.getByText('4000 × 3000, of which 4000 × 2250 at the centre')).toBeTruthy();
});
