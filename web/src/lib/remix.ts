/** Passes a job's settings to the form without coupling the two features. */
import type { JobView } from '../api/schema';

const EVENT = 'fleet:remix';

export function remix(job: JobView): void {
  window.dispatchEvent(new CustomEvent<JobView>(EVENT, { detail: job }));
}

export function onRemix(listener: (job: JobView) => void): () => void {
  const heard = (event: Event) => listener((event as CustomEvent<JobView>).detail);
  window.addEventListener(EVENT, heard);
  return () => window.removeEventListener(EVENT, heard);
}
