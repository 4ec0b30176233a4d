/**
 * Below a path prefix, everything that the page loads has it.
 *
 * @vitest-environment jsdom
 */
import { act, cleanup, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { thumbnailOf } from '../api/uploadImage';
import { JobMedia } from '../features/jobs/JobMedia';
import { setPreview } from '../live/preview';
import { job } from '../testing/builders';

// The API writes it into the page, and the modules read it when they are imported.
vi.hoisted(() => {
  document.head.innerHTML = '<meta name="path-prefix" content="/fleet" />';
});

// jsdom has no media queries.
beforeEach(() => void vi.stubGlobal('matchMedia', () => ({ matches: true })));
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const source = (alt: string) => screen.getByAltText(alt).getAttribute('src');

it('is part of the address of an uploaded picture', () => {
  expect(thumbnailOf('p1')).toBe('/fleet/api/images/p1/thumbnail');
});

it('is part of the addresses on a card, except of a preview that is a data URL', () => {
  const image = { url: '/api/images/p1', thumbnail_url: '/api/images/p1/thumbnail' };
  render(<JobMedia job={job({ status: 'running', image, preview: { step: 9, url: '/api/jobs/1/preview' } })} onOpen={() => undefined} />);
  expect(source('First frame')).toBe('/fleet/api/images/p1/thumbnail');
  expect(source('Preview: a red ball')).toBe('/fleet/api/jobs/1/preview');
  act(() => setPreview('1', { job_id: '1', step: 18, steps: 25, image: 'data:image/webp;base64,AA==' }));
  expect(source('Preview: a red ball')).toBe('data:image/webp;base64,AA==');
  act(() => setPreview('1', null));
});
