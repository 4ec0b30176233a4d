/** A few pages and one open job, kept in the URL, so the browser's history works as usual. */
import { type MouseEvent, useSyncExternalStore } from 'react';
import { at } from '../lib/prefix';

export type Place = 'create' | 'dashboard' | 'usage' | 'webhooks';

export const paths: Record<Place, string> = {
  create: at('/'),
  dashboard: at('/dashboard'),
  usage: at('/usage'),
  webhooks: at('/webhooks'),
};

const JOB = 'job';
const others: Place[] = ['dashboard', 'usage', 'webhooks'];
const place = (): Place => others.find((one) => window.location.pathname.startsWith(paths[one])) ?? 'create';
const openedJob = (): string | null => new URLSearchParams(window.location.search).get(JOB);

function push(address: string): void {
  window.history.pushState(null, '', address);
  window.dispatchEvent(new PopStateEvent('popstate'));
}

export function go(to: Place): void {
  if (place() === to) return;
  push(paths[to]);
  window.scrollTo(0, 0);
}

/** Follows a link without reloading the page; the browser handles clicks with a modifier key. */
export function follow(event: MouseEvent, to: Place): void {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  go(to);
}

/** The URL that shows a job. */
export const jobAddress = (jobId: string): string => `${paths.create}?${JOB}=${encodeURIComponent(jobId)}`;

export const openJob = (jobId: string): void => push(jobAddress(jobId));

export function closeJob(): void {
  if (openedJob()) push(window.location.pathname);
}

function subscribe(listener: () => void): () => void {
  window.addEventListener('popstate', listener);
  return () => window.removeEventListener('popstate', listener);
}

export const usePlace = (): Place => useSyncExternalStore(subscribe, place);
export const useOpenJob = (): string | null => useSyncExternalStore(subscribe, openedJob);
