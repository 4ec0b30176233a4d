/** Two places, two paths; the browser's history does the rest. */
import { type MouseEvent, useSyncExternalStore } from 'react';

export type Place = 'create' | 'dashboard';

export const paths: Record<Place, string> = { create: '/', dashboard: '/dashboard' };

const place = (): Place => (window.location.pathname.startsWith(paths.dashboard) ? 'dashboard' : 'create');

export function go(to: Place): void {
  if (place() === to) return;
  window.history.pushState(null, '', paths[to]);
  window.dispatchEvent(new PopStateEvent('popstate'));
  window.scrollTo(0, 0);
}

/** Follows a link without loading the page again; a click with a modifier stays the browser's. */
export function follow(event: MouseEvent, to: Place): void {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  go(to);
}

export const usePlace = (): Place =>
  useSyncExternalStore((listener) => {
    window.addEventListener('popstate', listener);
    return () => window.removeEventListener('popstate', listener);
  }, place);
