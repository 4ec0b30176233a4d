/** The newest preview of each running job, kept outside React state like its progress. */
import { useSyncExternalStore } from 'react';
import type { PreviewEvent } from './connection';

const latest = new Map<string, PreviewEvent>();
const listeners = new Map<string, Set<() => void>>();

/** Stores a preview; null removes the job's. */
export function setPreview(jobId: string, preview: PreviewEvent | null): void {
  if (preview) latest.set(jobId, preview);
  else latest.delete(jobId);
  for (const listener of listeners.get(jobId) ?? []) listener();
}

/** The latest preview of a job from the event stream. */
export function usePreview(jobId: string): PreviewEvent | null {
  return useSyncExternalStore(
    (listener) => {
      const mine = listeners.get(jobId) ?? new Set();
      listeners.set(jobId, mine.add(listener));
      return () => {
        mine.delete(listener);
        if (mine.size === 0) listeners.delete(jobId);
      };
    },
    () => latest.get(jobId) ?? null,
  );
}
